package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"gozon/shared/web/problem"
)

// readBody reads the whole request body into memory before the request is forwarded. A
// slow client therefore never occupies a connection to a service, and a request that
// could not be sent to one replica can be sent to another. On failure, readBody responds
// with a problem and returns false.
func readBody(c *gin.Context, limit int64) (body []byte, ok bool) {
	r := c.Request
	if r.ContentLength == 0 || r.Body == http.NoBody {
		return nil, true
	}
	tooLarge := func() ([]byte, bool) {
		c.Header("Connection", "close")
		problem.Write(c, problem.TooLarge(fmt.Sprintf("the body must be at most %d KiB", limit>>10)))
		return nil, false
	}
	if r.ContentLength > limit {
		return tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, r.Body, limit))
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return tooLarge()
	case err != nil:
		problem.Write(c, problem.Malformed("the body is incomplete"))
		return nil, false
	}
	return body, true
}
