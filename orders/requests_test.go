package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvalidRequestChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	long := strings.Repeat("ж", 200)
	for _, tc := range []struct{ body, pointer string }{
		{`{"user_id":1,"item":"x","price":-1}`, "/price"},
		{`{"user_id":1,"item":"x","price":0}`, "/price"},
		{`{"user_id":1,"item":"x","price":0.00}`, "/price"},
		{`{"user_id":1,"item":"x","price":1.001}`, "/price"},
		{`{"user_id":1,"item":"x","price":1e3}`, "/price"},
		{`{"user_id":1,"item":"x","price":"1"}`, "/price"},
		{`{"user_id":1,"item":"x","price":10000000000000.00}`, "/price"},
		{`{"user_id":1,"item":"x"}`, "/price"},
		{`{"user_id":0,"item":"x","price":1}`, "/user_id"},
		{`{"user_id":9007199254740992,"item":"x","price":1}`, "/user_id"},
		{`{"user_id":1e0,"item":"x","price":1}`, "/user_id"},
		{`{"item":"x","price":1}`, "/user_id"},
		{`{"user_id":1,"price":1}`, "/item"},
		{`{"user_id":1,"item":"  ","price":1}`, "/item"},
		{`{"user_id":1,"item":5,"price":1}`, "/item"},
		{`{"user_id":1,"item":"a\u0000b","price":1}`, "/item"},
		{`{"user_id":1,"item":"a\nb","price":1}`, "/item"},
		{`{"user_id":1,"item":"\ud800","price":1}`, "/item"},
		{`{"user_id":1,"item":"` + long + `ж","price":1}`, "/item"},
	} {
		status, body := f.Call(t, http.MethodPost, "/orders/", tc.body)
		require.Equal(t, http.StatusUnprocessableEntity, status, "%s: %s", tc.body, body)
		require.Contains(t, body, `"pointer":"`+tc.pointer+`"`)
	}
	for _, path := range []string{
		"/orders/", "/orders?user_id=0", "/orders?user_id=x", "/orders?user_id=1&limit=0", "/orders?user_id=1&limit=101",
		"/orders?user_id=1&cursor=x", "/orders/1", "/orders/%7B01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f%7D",
	} {
		status, body := f.Call(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusBadRequest, status, "%s: %s", path, body)
	}
	status, _ := f.Call(t, http.MethodGet, "/orders/01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f", "")
	require.Equal(t, http.StatusNotFound, status)
	status, _ = f.Call(t, http.MethodDelete, "/orders/01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f", "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	require.Zero(t, f.rows(t, "orders"))
	require.Zero(t, f.rows(t, "outbox"))

	status, body := f.Call(t, http.MethodPost, "/orders/", `{"user_id":1,"item":"  `+long+`  ","price":0.01}`)
	require.Equal(t, http.StatusCreated, status, body)
}
