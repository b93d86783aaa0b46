//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// tab is a browser tab that shows the shop.
type tab struct {
	t        *testing.T
	ctx      context.Context //nolint:containedctx // the context represents the tab in chromedp
	recorded recorder
}

// newTab opens an empty tab in a new browser, or in the browser of the tab that ctx belongs to.
func newTab(ctx context.Context, t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx))
	require.NoError(t, chromedp.Listen(ctx, p.recorded.listen))
	return p
}

// open loads the shop for a user and waits until it shows the user's data.
func (p *tab) open(user int64) {
	p.t.Helper()
	load := func() []string {
		before := len(p.recorded.errorTexts())
		p.do("open the shop", chromedp.Navigate(shop.Page+"/?user="+strconv.FormatInt(user, 10)))
		return p.recorded.errorTexts()[before:]
	}
	// Chromium aborts loads when the machine's network changes, which happens when containers start or stop.
	for strings.Contains(strings.Join(load(), " "), "ERR_NETWORK_CHANGED") {
		p.t.Log("the network has changed, loading the page again")
	}
	p.do("see the shop", visible(`#live[data-live="true"]`), visible(`#balance:not([data-account="unknown"])`))
}

// do runs one step of a scenario. If it fails, a screenshot is saved.
func (p *tab) do(step string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		screenshot(p.ctx, p.t)
		require.NoError(p.t, err, "%s; errors in the browser: %q", step, p.recorded.errorTexts())
	}
}

// posts returns the number of POST requests that the page sent.
func (p *tab) posts() int {
	p.recorded.mu.Lock()
	defer p.recorded.mu.Unlock()
	n := 0
	for _, sent := range p.recorded.sent {
		if strings.HasPrefix(sent, http.MethodPost) {
			n++
		}
	}
	return n
}

// eval returns the value of a JavaScript expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return v
}

// command sends a command of the DevTools protocol.
func command[P, R any](p *tab, cmd cdp.Command[P, R], params P) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, cmd, params)
	require.NoError(p.t, err)
}

func visible(selector chromedp.CSS) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(selector)
}

func click(selector chromedp.CSS) chromedp.Action[chromedp.Void] { return chromedp.Click(selector) }

func fill(selector chromedp.CSS, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SetValue(selector, text)
}

// press holds down Enter on the element for the given number of key repeats.
func press(selector chromedp.CSS, repeats int) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.Focus(selector), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		enter := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13}
		for i := range repeats + 1 {
			repeated := i > 0
			enter.AutoRepeat = &repeated
			if _, err := cdp.Call(ctx, target, input.DispatchKeyEvent, enter); err != nil {
				return err
			}
		}
		enter.Type, enter.Text, enter.AutoRepeat = input.DispatchKeyEventTypeKeyUp, "", nil
		_, err := cdp.Call(ctx, target, input.DispatchKeyEvent, enter)
		return err
	}))
}

// shopper returns a new user with an account of the given balance.
func shopper(t *testing.T, money string) int64 {
	t.Helper()
	user := newUser()
	topUp(t, user, money)
	return user
}

func topUp(t *testing.T, user int64, money string) {
	t.Helper()
	a := post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":%s}`, user, money))
	require.Less(t, a.status, http.StatusMultipleChoices, a.body)
}

func ordersOf(t *testing.T, user int64) []order {
	t.Helper()
	var page struct{ Orders []order }
	get(t, fmt.Sprintf("%s/orders/?user_id=%d", shop.API, user)).decode(t, &page)
	return page.Orders
}
