//go:build e2e

package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"
	"github.com/stretchr/testify/require"
)

// browser is a fresh headless Chromium: this machine's own, or one in a container.
func browser(t *testing.T) context.Context {
	t.Helper()
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
	require.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, devtools+"/json/version", http.NoBody)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond)
	ctx, cancel := remote.NewAllocator(t.Context(), devtools)
	t.Cleanup(cancel)
	return ctx
}

// A person opens an account, orders, sees the order being paid, orders more than there
// is money for and sees why not, all without reloading.
func TestJourneyInTheBrowser(t *testing.T) {
	t.Parallel()
	ctx, cancel := chromedp.NewContext(browser(t))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)

	var mu sync.Mutex
	var complaints []string
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *cdpruntime.EventExceptionThrown:
			complaints = append(complaints, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
		case *cdplog.EventEntryAdded:
			// The API's 404 for a user without an account is logged by the browser itself.
			if e.Entry.Level == cdplog.EntryLevelError && !strings.Contains(e.Entry.Text, "404") {
				complaints = append(complaints, e.Entry.Text+" "+e.Entry.URL)
			}
		}
	}))
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
		seen(`#balance[data-account="none"]`))
	step("open an account", fill("topup-amount", "1000"), click("topup-submit"),
		seen(`#balance[data-account="open"][data-amount="1000"]`))
	step("order", fill("item", "Laptop"), fill("price", "999.99"), click("order-submit"),
		seen(`[data-order-id][data-status="PAID"]`),
		seen(`#balance[data-amount="0.01"]`))
	step("order too much", fill("item", "Yacht"), fill("price", "1000000"), click("order-submit"),
		seen(`[data-order-id][data-status="CANCELLED"]`))
	reason, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(`[data-status="CANCELLED"] [data-testid="order-reason"]`)))
	require.NoError(t, err)
	require.NotEmpty(t, reason)
	require.NotContains(t, reason, "insufficient_funds", "the reason is a code, not words")
	require.Equal(t, "0.01", balance(t, shop.API, user))
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, complaints)
	require.Equal(t, http.StatusOK, get(t, shop.Page+"/").status)
}

// picture keeps what the page looked like when a step failed.
func picture(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(90))
	if err != nil {
		t.Log("no picture:", err)
		return
	}
	path := filepath.Join(os.TempDir(), "gozon-"+t.Name()+".png")
	if err := os.WriteFile(path, png, 0o600); err != nil {
		t.Log("no picture:", err)
		return
	}
	t.Log("the page as it was:", path)
}
