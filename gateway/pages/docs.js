// Nothing is asked of anybody but this shop: there is no validator, and the calls go where the page came from.
SwaggerUIBundle({
  url: "/openapi.yaml",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
