package request_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("k", request.MaxKey)
	for name, tc := range map[string]struct {
		values  []string
		want    string
		errText string
	}{
		"none":              {nil, "", ""},
		"quoted string":     {[]string{`"8e03978e-40d5"`}, "8e03978e-40d5", ""},
		"bare":              {[]string{"8e03978e-40d5"}, "8e03978e-40d5", ""},
		"spaces around":     {[]string{` "a" `}, "a", ""},
		"maximum length":    {[]string{longest}, longest, ""},
		"too long":          {[]string{longest + "k"}, "", "characters"},
		"empty":             {[]string{""}, "", "characters"},
		"empty string":      {[]string{`""`}, "", "characters"},
		"unclosed quote":    {[]string{`"a`}, "", "one string"},
		"lone quote":        {[]string{`"`}, "", "one string"},
		"two strings":       {[]string{`"a", "b"`}, "", "one string"},
		"escape":            {[]string{`"a\"b"`}, "", "one string"},
		"with parameters":   {[]string{`"a";x=1`}, "", "one string"},
		"two headers":       {[]string{"a", "a"}, "", "once"},
		"not ASCII":         {[]string{"ключ"}, "", "ASCII"},
		"space inside":      {[]string{"a b"}, "", "ASCII"},
		"control character": {[]string{"a\x01b"}, "", "ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := request.IdempotencyKey(&http.Request{Header: http.Header{"Idempotency-Key": tc.values}})
			require.Equal(t, tc.want, key)
			if tc.errText == "" {
				require.NoError(t, err)
				return
			}
			var p *problem.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, http.StatusBadRequest, p.Status)
			require.ErrorContains(t, err, tc.errText)
		})
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]int{
		"": 20, "?limit=1": 1, "?limit=100": 100, "?user_id=5": 20,
		"?limit=0": 0, "?limit=101": 0, "?limit=": 0, "?limit=x": 0, "?limit=-1": 0, "?limit=%2B5": 0, "?limit=05": 0, "?limit=1e1": 0,
	} {
		limit, err := request.Limit(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/orders"+query, http.NoBody))
		require.Equal(t, want, limit, query)
		require.Equal(t, want == 0, err != nil, query)
	}
}
