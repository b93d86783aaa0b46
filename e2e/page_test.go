//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

const maxAmount = "9999999999999.99" // the largest amount that the shop accepts

// findOverflow lists the elements that extend beyond the window, and those whose content is clipped.
const findOverflow = `(() => {
	const width = document.documentElement.clientWidth;
	const shown = [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && !node.closest('.visually-hidden'));
	const name = (node) => node.tagName + '#' + node.id + '.' + node.className;
	const outside = shown.map((node) => [name(node), node.getBoundingClientRect()])
		.filter(([, box]) => box.width > 0 && (box.left < -0.5 || box.right > width + 0.5)).map(([node, box]) => node + ' ends at ' + box.right);
	const clips = (node) => node.tagName !== 'INPUT' && getComputedStyle(node).overflowX !== 'visible' && node.scrollWidth > node.clientWidth + 1;
	return [...outside, ...shown.filter(clips).map((node) => name(node) + ' is ' + node.scrollWidth + ' wide in ' + node.clientWidth)];
})()`

// The page fits the screen with any item name and amount: nothing is cut off, and nothing scrolls sideways.
func TestPageFitsEveryScreen(t *testing.T) {
	t.Parallel()
	p := newTab(browser(t), t)
	user := shopper(t, maxAmount)
	name := strings.Repeat("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft ", 3)
	for _, item := range []string{string([]rune(name)[:200]), strings.Repeat("W", 200)} { // the first is charged and refunded, the second refused
		a := post(t, shop.API+"/orders/", fmt.Sprintf(`{"user_id":%d,"item":%q,"price":%s}`, user, item, maxAmount))
		require.Equal(t, http.StatusCreated, a.status, a.body)
		var o order
		a.decode(t, &o)
		settled(t, shop.API, o.ID)
	}
	orders := ordersOf(t, user)
	a := call(t, http.MethodPost, shop.API+"/orders/"+orders[1].ID+"/cancel", "", "")
	require.Equal(t, http.StatusAccepted, a.status, a.body)
	ended(t, shop.API, orders[1].ID)
	last := place(t, shop.API, user, "0.01")
	require.Equal(t, "PAID", settled(t, shop.API, last.ID).Status)

	p.open(user)
	// An order that was in flight when its page was left.
	eval[chromedp.Void](p, fmt.Sprintf(`localStorage.setItem('gozon.intent.%d', JSON.stringify({topic: 'order', user: %d, at: Date.now(), `+
		`values: JSON.stringify({item: %q, price: 1})}))`, user, user, strings.Repeat("W", 200)))
	for _, scheme := range []string{"light", "dark"} {
		command(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		for _, width := range []int64{320, 360, 390, 768, 900, 1280} {
			p.do("resize", chromedp.EmulateViewport(width, 800))
			p.open(user)
			p.do("show every part", visible(`[data-testid="notice"]`),
				click("#statement summary"), visible(`[data-testid="entry"][data-kind="refund"]`),
				fill("#topup-amount", strings.Repeat("9", 24)), click("#topup-submit"), visible("#topup-amount-error"),
				click("#order-submit"), visible("#item-error"),
				click(`[data-order-id="`+chromedp.CSS(last.ID)+`"] [data-testid="order-cancel"]`), visible(`[data-testid="order-cancel-confirm"]`))
			if overflow := eval[[]string](p, findOverflow); len(overflow) > 0 {
				screenshot(p.ctx, t)
				require.Empty(t, overflow, "%s, %d pixels", scheme, width)
			}
		}
	}
}

// A key that is held down acts once, even if the focus moves, and a suggestion only fills in the form.
func TestHeldKeyActsOnce(t *testing.T) {
	t.Parallel()
	p := newTab(browser(t), t)
	user := shopper(t, "1000000")
	p.open(user)

	const good chromedp.CSS = `[data-testid="good"]`
	p.do("hold Enter on a suggestion", press(good, 30))
	p.do("press it repeatedly", press(good, 0), chromedp.KeyEvent("\r"), chromedp.KeyEvent("\r"), chromedp.KeyEvent("\r"))
	require.Equal(t, []string{"Tea, 100 g", "349.90"}, eval[[]string](p, `[item.value, price.value]`))

	p.do("hold Enter in the form", fill("#item", "Laptop"), press("#price", 30), visible(`[data-order-id][data-status="PAID"]`))
	placed := ordersOf(t, user)
	require.Len(t, placed, 1)
	require.Equal(t, "Laptop", placed[0].Item)
	p.do("hold Enter on the order button", fill("#item", "Book"), fill("#price", "1"), press("#order-submit", 30),
		visible(`[data-order-id]:nth-child(2)`))
	require.Len(t, ordersOf(t, user), 2)
	require.Empty(t, eval[string](p, `document.getElementById('item-error').textContent`), "the empty form was submitted")

	p.do("hold Enter on the top-up button", fill("#topup-amount", "5"), press("#topup-submit", 30), visible(`#balance[data-amount="999654.1"]`))
	require.Equal(t, "999654.1", balance(t, shop.API, user))

	row := chromedp.CSS(fmt.Sprintf("[data-order-id=%q] ", placed[0].ID))
	p.do("hold Enter on the cancel button", press(row+`[data-testid="order-cancel"]`, 30), visible(row+`[data-testid="order-cancel-confirm"]`))
	require.Empty(t, p.recorded.requests(http.MethodPost, "/orders/"+placed[0].ID+"/cancel"))
}

// The balance reflects changes made elsewhere within seconds, and the statement never contradicts it.
func TestBalanceFollowsChangesMadeElsewhere(t *testing.T) {
	t.Parallel()
	p := newTab(browser(t), t)
	user := shopper(t, "10")
	p.open(user)
	p.do("see the balance", visible(`#balance[data-amount="10"]`), visible(`#balance-at[data-confirmed="true"]`))
	topUp(t, user, "5")
	p.do("see a top-up through the API", visible(`#balance[data-amount="15"]`))

	p.do("open the statement", click("#statement summary"), visible(`[data-testid="entry"]`))
	eval[chromedp.Void](p, `window.contradictions = [];
		new MutationObserver(() => {
			const [shown, newest] = [balance, document.querySelector('.entry-balance')].map((node) => node?.textContent);
			if (newest !== undefined && shown !== newest) window.contradictions.push(shown + ' and ' + newest);
		}).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true})`)
	topUp(t, user, "5")
	p.do("see another top-up", visible(`#balance[data-amount="20"]`), visible(`[data-testid="entry"]:nth-child(3)`))

	other := newTab(p.ctx, t)
	other.open(user)
	other.do("top up in another tab", fill("#topup-amount", "5"), click("#topup-submit"), visible(`#balance[data-amount="25"]`))
	p.do("see the top-up of the other tab", visible(`#balance[data-amount="25"]`))
	p.do("top up and order here", fill("#topup-amount", "5"), click("#topup-submit"), visible(`#balance[data-amount="30"]`),
		fill("#item", "Book"), fill("#price", "1"), click("#order-submit"), visible(`#balance[data-amount="29"]`))
	require.Empty(t, eval[[]string](p, "contradictions"))

	command(p, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*/accounts/*"}}})
	p.do("see that the balance is out of date", visible(`#balance-at[data-confirmed="false"]`))
}
