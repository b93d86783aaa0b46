package servicetest

import (
	"bytes"
	"strings"
	"testing"

	"gozon/shared/service"
)

// Command runs a command of p with the given DATABASE_URL and AMQP_URL, and returns its exit
// code and what it has printed. OPERATOR is "tester".
func Command(t testing.TB, p service.Program, databaseURL, amqpURL, stdin string, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p.Stdin, p.Stdout = strings.NewReader(stdin), &out
	exit = p.Run(t.Context(), args, map[string]string{"DATABASE_URL": databaseURL, "AMQP_URL": amqpURL, "OPERATOR": "tester"}, &errs)
	return exit, out.String(), errs.String()
}
