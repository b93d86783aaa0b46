package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/problem"
	"gozon/shared/request"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("k", request.MaxKey)
	for name, tc := range map[string]struct {
		values []string
		want   string
		wrong  string
	}{
		"none":               {nil, "", ""},
		"a string":           {[]string{`"8e03978e-40d5"`}, "8e03978e-40d5", ""},
		"bare":               {[]string{"8e03978e-40d5"}, "8e03978e-40d5", ""},
		"spaces around":      {[]string{` "a" `}, "a", ""},
		"the longest":        {[]string{longest}, longest, ""},
		"too long":           {[]string{longest + "k"}, "", "characters"},
		"empty":              {[]string{""}, "", "characters"},
		"an empty string":    {[]string{`""`}, "", "characters"},
		"not closed":         {[]string{`"a`}, "", "one string"},
		"a lone quote":       {[]string{`"`}, "", "one string"},
		"two strings":        {[]string{`"a", "b"`}, "", "one string"},
		"an escape":          {[]string{`"a\"b"`}, "", "one string"},
		"with parameters":    {[]string{`"a";x=1`}, "", "one string"},
		"given twice":        {[]string{"a", "a"}, "", "once"},
		"not ASCII":          {[]string{"ключ"}, "", "ASCII"},
		"a space inside":     {[]string{"a b"}, "", "ASCII"},
		"a control in there": {[]string{"a\x01b"}, "", "ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := request.IdempotencyKey(&http.Request{Header: http.Header{"Idempotency-Key": tc.values}})
			require.Equal(t, tc.want, key)
			if tc.wrong == "" {
				require.NoError(t, err)
				return
			}
			var p *problem.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, http.StatusBadRequest, p.Status)
			require.ErrorContains(t, err, tc.wrong)
		})
	}
}
