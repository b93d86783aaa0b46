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

	"gozon/shared/test/servicetest"
)

// oneBrowser is held by the test that has a browser: one in a container has a fixed port, and two
// at a time slow each other down.
var oneBrowser sync.Mutex

// browser is a fresh headless Chromium: this machine's own, or one in a container.
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
	image := os.Getenv("BROWSER_IMAGE")
	if image == "" {
		image = "chromedp/headless-shell:stable"
	}
	// On the host's network, so that the page's address is the same inside.
	out, err := exec.CommandContext(t.Context(), "docker", "run", "-d", "--rm", "--network", "host", image).Output()
	require.NoError(t, err)
	id := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("docker", "kill", id).Run() }) //nolint:noctx // after the test's own context has ended
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

// A person opens an account, orders, sees the order being paid, orders more than there
// is money for and sees why not, cancels and has the money back, all without reloading
// and without the page asking again.
func TestJourneyInTheBrowser(t *testing.T) {
	t.Parallel()
	ctx, cancel := chromedp.NewContext(browser(t))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)

	var seenIn sightings
	require.NoError(t, chromedp.Listen(ctx, seenIn.listen))
	user := newUser()
	step := func(name string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			picture(ctx, t)
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
	before := len(seenIn.requests(http.MethodGet, "/orders/?"))
	step("open an account", fill("topup-amount", "1000"), click("topup-submit"),
		seen(`#balance[data-account="open"][data-amount="1000"]`))

	const laptop chromedp.CSS = `[data-order-id]:last-child`
	step("order by a double click", fill("item", "Laptop"), fill("price", "999.99"), doubleClick("#order-submit"),
		seen(laptop+`[data-status="PAID"]`),
		seen(`#balance[data-amount="0.01"]`))
	require.Equal(t, []string{"placed", "published", "charged", "confirmed"}, timeline(ctx, t, laptop))
	step("order too much", fill("item", "Yacht"), fill("price", "1000000"), click("order-submit"),
		seen(`[data-order-id][data-status="CANCELLED"]`))
	reason := text(ctx, t, `[data-status="CANCELLED"] [data-testid="order-reason"]`)
	require.NotEmpty(t, reason)
	require.NotContains(t, reason, "insufficient_funds", "the reason is a code, not words")
	require.Equal(t, "0.01", balance(t, shop.API, user))

	var list struct{ Orders []order }
	get(t, fmt.Sprintf("%s/orders/?user_id=%d", shop.API, user)).decode(t, &list)
	require.Len(t, list.Orders, 2, "a double click is one order")
	require.Len(t, seenIn.requests(http.MethodPost, "/orders/"), 2)

	step("cancel", chromedp.Click(laptop+` [data-testid="order-cancel"]`), chromedp.Click(laptop+` [data-testid="order-cancel-confirm"]`),
		seen(laptop+`[data-status="CANCELLED"]`),
		seen(`#balance[data-amount="1000"]`))
	require.Contains(t, text(ctx, t, laptop+` [data-testid="order-reason"]`), "given back")
	require.Equal(t, []string{"placed", "published", "charged", "confirmed", "cancel_requested", "refunded", "cancelled"}, timeline(ctx, t, laptop))
	require.Equal(t, "1000", balance(t, shop.API, user))
	step("read the statement", chromedp.Click(chromedp.CSS(`#statement summary`)), seen(`[data-testid="entry"][data-kind="refund"]`))

	require.Len(t, seenIn.requests(http.MethodGet, "/orders/?"), before, "the page asked instead of being told")
	require.Empty(t, seenIn.complaints())
	require.Equal(t, http.StatusOK, get(t, shop.Page+"/").status)
}

// sightings is what the browser told: what it asked for, and what it complained about.
type sightings struct {
	mu      sync.Mutex
	sent    []string
	trouble []string
}

func (s *sightings) listen(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *cdpnetwork.EventRequestWillBeSent:
		s.sent = append(s.sent, e.Request.Method+" "+strings.TrimPrefix(e.Request.URL, shop.Page))
	case *cdpruntime.EventExceptionThrown:
		s.trouble = append(s.trouble, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
	case *cdplog.EventEntryAdded:
		// The API's 404 for a user without an account is logged by the browser itself.
		if e.Entry.Level == cdplog.EntryLevelError && !strings.Contains(e.Entry.Text, "404") {
			s.trouble = append(s.trouble, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

func (s *sightings) complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trouble)
}

// requests are those of a method to the page's own origin: to a path, or, where it ends in "?", to
// that path with any query.
func (s *sightings) requests(method, path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.sent), func(sent string) bool {
		wanted := method + " " + path
		return sent != wanted && (!strings.HasSuffix(path, "?") || !strings.HasPrefix(sent, wanted))
	})
}

// doubleClick is two clicks, the second of which says that it is one, as a mouse makes them;
// chromedp's own DoubleClick sends the second alone.
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
	words, err := chromedp.Run(ctx, chromedp.Text(selector))
	require.NoError(t, err)
	return words
}

// timeline is the steps that an order's row shows, in their order.
func timeline(ctx context.Context, t *testing.T, row chromedp.CSS) []string {
	t.Helper()
	const steps = `[...document.querySelectorAll(%q)].filter((step) => step.checkVisibility()).map((step) => step.dataset.step)`
	shown, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](fmt.Sprintf(steps, row+` [data-testid="timeline"] [data-testid="timeline-step"]`)))
	require.NoError(t, err)
	return shown
}

// picture keeps what the page looked like when a step failed.
func picture(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Log("no picture:", err)
		return
	}
	path := filepath.Join(os.TempDir(), "gozon-"+strings.ReplaceAll(t.Name(), "/", "-")+".png")
	if err := os.WriteFile(path, png, 0o600); err != nil {
		t.Log("no picture:", err)
		return
	}
	t.Log("the page as it was:", path)
}
