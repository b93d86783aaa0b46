//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A page that is reloaded before the response shows a notice about the request and sends nothing by itself.
// The request is processed once, whether the visitor retries it or submits the same form again.
func TestReloadBeforeTheAnswerDoesNothingTwice(t *testing.T) {
	t.Parallel()
	retry := click(`[data-testid="notice-retry"]`)
	typeOrder := chromedp.Steps(fill("#item", "Book"), fill("#price", "4"), click("#order-submit"))
	typeTopUp := chromedp.Steps(fill("#topup-amount", "5"), click("#topup-submit"))
	cancel := chromedp.Steps(click(`[data-testid="order-cancel"]`), click(`[data-testid="order-cancel-confirm"]`))
	for _, tc := range []struct {
		name, topic, url string
		first, second    chromedp.Action[chromedp.Void]
		shown            chromedp.CSS
		balance          string
	}{
		{"order, retried", "order", "*/orders/", typeOrder, retry, `[data-status="PAID"]:nth-child(1):nth-last-child(2)`, "92"},
		{"order, submitted again", "order", "*/orders/", typeOrder, typeOrder, `[data-status="PAID"]:nth-child(1):nth-last-child(2)`, "92"},
		{"top-up, retried", "topUp", "*/accounts/", typeTopUp, retry, `#balance[data-amount="101"]`, "101"},
		{"top-up, submitted again", "topUp", "*/accounts/", typeTopUp, typeTopUp, `#balance[data-amount="101"]`, "101"},
		{"cancellation, retried", "cancel", "*/cancel", cancel, retry, `[data-status="CANCELLED"]`, "100"},
	} {
		for _, stage := range []fetch.RequestStage{fetch.RequestStageRequest, fetch.RequestStageResponse} {
			t.Run(fmt.Sprintf("%s, at the %s", tc.name, stage), func(t *testing.T) {
				t.Parallel()
				p := newTab(browser(t), t)
				user := shopper(t, "100")
				require.Equal(t, "PAID", settled(t, shop.API, place(t, shop.API, user, "4").ID).Status)
				p.open(user)
				p.do("see the order", visible(`[data-status="PAID"]`))

				pattern := []*fetch.RequestPattern{{URLPattern: tc.url, RequestStage: stage}}
				command(p, fetch.Enable, fetch.EnableParams{Patterns: pattern})
				_, err := chromedp.Run(p.ctx, chromedp.WaitEvent(fetch.RequestPaused, nil, tc.first))
				require.NoError(t, err)
				notice := chromedp.CSS(fmt.Sprintf(`[data-testid="notice"][data-topic=%q]`, tc.topic))
				p.do("reload", chromedp.Reload())
				command(p, fetch.Disable, cdp.Empty{})
				if tc.topic == "cancel" && stage == fetch.RequestStageResponse {
					// The order is already cancelled, which settles the intent.
					p.do("see the result", visible(tc.shown), chromedp.WaitNotPresent(notice))
					require.Equal(t, tc.balance, balance(t, shop.API, user))
					return
				}
				p.do("see the notice", visible(notice))
				require.Equal(t, 1, p.posts(), "the page sent something by itself")
				p.do("repeat the request", tc.second, visible(tc.shown), chromedp.WaitNotPresent(notice))
				require.Equal(t, tc.balance, balance(t, shop.API, user))
			})
		}
	}
}
