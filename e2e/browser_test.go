//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	cdpnetwork "github.com/chromedp/cdproto/network"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"
	"github.com/stretchr/testify/require"

	"gozon/shared/test/pins"
	"gozon/shared/test/servicetest"
)

// oneBrowser is held by the test that runs a browser. A browser in a container uses a fixed port, and
// two browsers at a time slow each other down.
var oneBrowser sync.Mutex

// browser starts a headless Chromium with a fresh profile: the installed one, or else one in a container.
func browser(t *testing.T) context.Context {
	t.Helper()
	oneBrowser.Lock()
	t.Cleanup(oneBrowser.Unlock)
	for _, name := range []string{"chromium", "google-chrome", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
				chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
				chromedp.Flag("disable-component-update", true))...)
			t.Cleanup(cancel)
			return ctx
		}
	}
	// The host's network makes the page reachable at the same address inside the container.
	out, err := exec.CommandContext(t.Context(), "docker", "run", "-d", "--rm", "--network", "host", pins.Image("browser")).Output()
	require.NoError(t, err)
	id := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("docker", "kill", id).Run() }) //nolint:noctx // runs after the test's context has ended
	const devtools = "http://127.0.0.1:9222"
	servicetest.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, devtools+"/json/version", http.NoBody)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	ctx, cancel := remote.NewAllocator(t.Context(), devtools)
	t.Cleanup(cancel)
	return ctx
}

// A shopper opens an account, places an order, sees it being paid, places an order that the balance does not
// cover, sees the reason, cancels the first order and gets a refund. The page is never reloaded and never
// reads the list of orders again, because the stream delivers every change.
func TestJourneyInTheBrowser(t *testing.T) {
	t.Parallel()
	ctx, cancel := chromedp.NewContext(browser(t))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)

	var recorded recorder
	require.NoError(t, chromedp.Listen(ctx, recorded.listen))
	user := newUser()
	step := func(name string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			screenshot(ctx, t)
			require.NoError(t, err, name)
		}
	}
	fill := func(id chromedp.CSS, text string) chromedp.Action[chromedp.Void] {
		return chromedp.SetValue("#"+id, text)
	}
	seen := func(selector chromedp.CSS) chromedp.Action[chromedp.Void] { return chromedp.WaitVisible(selector) }
	click := func(id chromedp.CSS) chromedp.Action[chromedp.Void] { return chromedp.Click("#" + id) }
	step("choose a user", chromedp.Navigate(shop.Page),
		seen("#user-id"), fill("user-id", strconv.FormatInt(user, 10)), click("user-submit"),
		seen(`#balance[data-account="none"]`), seen(`#orders-empty`), seen(`#live[data-live="true"]`))
	before := len(recorded.requests(http.MethodGet, "/orders/?"))
	step("open an account", fill("topup-amount", "1000"), click("topup-submit"),
		seen(`#balance[data-account="open"][data-amount="1000"]`))

	const laptop chromedp.CSS = `[data-order-id]:last-child`
	step("order with a double click", fill("item", "Laptop"), fill("price", "999.99"), doubleClick("#order-submit"),
		seen(laptop+`[data-status="PAID"]`),
		seen(`#balance[data-amount="0.01"]`))
	require.Equal(t, []string{"placed", "published", "charged", "confirmed"}, timeline(ctx, t, laptop))
	step("order more than the balance covers", fill("item", "Yacht"), fill("price", "1000000"), click("order-submit"),
		seen(`[data-order-id][data-status="CANCELLED"]`))
	reason := text(ctx, t, `[data-status="CANCELLED"] [data-testid="order-reason"]`)
	require.NotEmpty(t, reason)
	require.NotContains(t, reason, "insufficient_funds", "the reason must be a text, not a code")
	require.Equal(t, "0.01", balance(t, shop.API, user))

	var list struct{ Orders []order }
	get(t, fmt.Sprintf("%s/orders/?user_id=%d", shop.API, user)).decode(t, &list)
	require.Len(t, list.Orders, 2, "a double click must place one order")
	require.Len(t, recorded.requests(http.MethodPost, "/orders/"), 2)

	step("cancel", chromedp.Click(laptop+` [data-testid="order-cancel"]`), chromedp.Click(laptop+` [data-testid="order-cancel-confirm"]`),
		seen(laptop+`[data-status="CANCELLED"]`),
		seen(`#balance[data-amount="1000"]`))
	require.Contains(t, text(ctx, t, laptop+` [data-testid="order-reason"]`), "refunded")
	require.Equal(t, []string{"placed", "published", "charged", "confirmed", "cancel_requested", "refunded", "cancelled"}, timeline(ctx, t, laptop))
	require.Equal(t, "1000", balance(t, shop.API, user))
	step("read the statement", chromedp.Click(chromedp.CSS(`#statement summary`)), seen(`[data-testid="entry"][data-kind="refund"]`))

	require.Len(t, recorded.requests(http.MethodGet, "/orders/?"), before, "the page read the list again instead of using the stream")
	require.Empty(t, recorded.errorTexts())
	require.Equal(t, http.StatusOK, get(t, shop.Page+"/").status)
}

// recorder records the requests and the errors of a browser tab. It is safe for concurrent use.
type recorder struct {
	mu     sync.Mutex
	sent   []string
	errors []string
}

func (r *recorder) listen(event any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := event.(type) {
	case *cdpnetwork.EventRequestWillBeSent:
		r.sent = append(r.sent, e.Request.Method+" "+strings.TrimPrefix(e.Request.URL, shop.Page))
	case *cdpruntime.EventExceptionThrown:
		r.errors = append(r.errors, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
	case *cdplog.EventEntryAdded:
		// The browser logs the API's 404 for a user without an account as an error.
		if e.Entry.Level == cdplog.EntryLevelError && !strings.Contains(e.Entry.Text, "404") {
			r.errors = append(r.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

func (r *recorder) errorTexts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

// requests returns the recorded requests with that method and path to the page's origin.
// A path that ends in "?" matches any query.
func (r *recorder) requests(method, path string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.sent), func(sent string) bool {
		wanted := method + " " + path
		return sent != wanted && (!strings.HasSuffix(path, "?") || !strings.HasPrefix(sent, wanted))
	})
}

// doubleClick sends two clicks, with click counts 1 and 2, like a mouse does. The DoubleClick
// of chromedp sends only the second.
func doubleClick(selector chromedp.CSS) chromedp.Action[chromedp.Void] {
	return chromedp.QueryAfter(selector, func(ctx context.Context, target *chromedp.Target, nodes []*chromedp.Node) (chromedp.Void, error) {
		if done, err := chromedp.MouseClickNode(nodes[0])(ctx, target); err != nil {
			return done, err
		}
		return chromedp.MouseClickNode(nodes[0], chromedp.ClickCount(2))(ctx, target)
	}, chromedp.NodeVisible)
}

func text(ctx context.Context, t *testing.T, selector chromedp.CSS) string {
	t.Helper()
	content, err := chromedp.Run(ctx, chromedp.Text(selector))
	require.NoError(t, err)
	return content
}

// timeline returns the visible steps of an order's row, in order.
func timeline(ctx context.Context, t *testing.T, row chromedp.CSS) []string {
	t.Helper()
	const steps = `[...document.querySelectorAll(%q)].filter((step) => step.checkVisibility()).map((step) => step.dataset.step)`
	shown, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](fmt.Sprintf(steps, row+` [data-testid="timeline"] [data-testid="timeline-step"]`)))
	require.NoError(t, err)
	return shown
}

// screenshot saves an image of the page when a step failed.
func screenshot(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Log("no screenshot:", err)
		return
	}
	path := filepath.Join(os.TempDir(), "gozon-"+strings.ReplaceAll(t.Name(), "/", "-")+".png")
	if err := os.WriteFile(path, png, 0o600); err != nil {
		t.Log("no screenshot:", err)
		return
	}
	t.Log("screenshot:", path)
}
