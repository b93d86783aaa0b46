package main

import (
	"testing"

	"gozon/shared/test/docstest"
)

func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	docstest.Metrics(t, "payments", <-start(t).Registry)
}
