# The images of the shop. One stage builds the three services. It has few steps, because
# each step is expensive on old engines, and no step needs BuildKit. The image of a service
# contains only its static binary; the gateway's also contains the OpenAPI document.
# The build tag nomsgpack omits an unused codec of gin; shared/third_party omits two others.
ARG GO_IMAGE=golang:1.26.8@sha256:9d2f36f06329b2a141b9db99ffa32765cf695ee57b813ca29e245e8670bcbfff
ARG NGINX_IMAGE=nginx:1.30.5@sha256:b972f831f200b19ef0767938224f9711e74cd783718738cd7405d5cabf75c442

FROM ${GO_IMAGE} AS build
ENV CGO_ENABLED=0 GOWORK=off GOFLAGS="-trimpath -buildvcs=false -tags=nomsgpack" GOTOOLCHAIN=local
WORKDIR /src
COPY shared/go.mod shared/go.sum shared/
COPY shared/third_party shared/third_party
COPY orders/go.mod orders/go.sum orders/
COPY payments/go.mod payments/go.sum payments/
COPY gateway/go.mod gateway/go.sum gateway/
# Compile the dependencies before copying the sources, so that this layer stays cached when the code changes.
RUN cd orders && go build \
        github.com/caarlos0/env/v11 github.com/gin-gonic/gin github.com/google/uuid github.com/jackc/pgx/v5/stdlib \
        github.com/pressly/goose/v3 github.com/prometheus/client_golang/prometheus/promhttp \
        github.com/wagslane/go-rabbitmq gorm.io/driver/postgres \
 && cd ../gateway && go build net/http/httputil
COPY shared shared
COPY orders orders
COPY payments payments
COPY gateway gateway
RUN for s in orders payments gateway; do (cd $s && go build -ldflags="-s -w" -o /out/$s .) || exit 1; done

FROM scratch AS orders
COPY --from=build /out/orders /orders
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/orders"]

FROM scratch AS payments
COPY --from=build /out/payments /payments
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/payments"]

FROM scratch AS gateway
COPY --from=build /out/gateway /gateway
COPY docs/openapi.yaml /openapi.yaml
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/gateway"]

FROM ${NGINX_IMAGE} AS frontend
COPY frontend/nginx.conf /etc/nginx/nginx.conf
COPY frontend/start.sh /start.sh
COPY frontend/public /usr/share/nginx/html
USER 101:101
EXPOSE 8080
ENTRYPOINT ["/start.sh"]
