package request

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

const maxItem = 200

// pattern returns the pattern at a path of docs/openapi.yaml. The patterns are ECMA-262.
// The escape of a code point is the only syntax in them that differs from Go's.
func pattern(t *testing.T, path ...string) *regexp.Regexp {
	t.Helper()
	contract, err := os.ReadFile("../../../docs/openapi.yaml")
	require.NoError(t, err)
	var node map[string]any
	require.NoError(t, yaml.Unmarshal(contract, &node))
	for _, name := range path {
		var ok bool
		node, ok = node[name].(map[string]any)
		require.True(t, ok, name)
	}
	source, ok := node["pattern"].(string)
	require.True(t, ok)
	return regexp.MustCompile(regexp.MustCompile(`\\u([0-9A-F]{4})`).ReplaceAllString(source, `\x{$1}`))
}

func itemPattern(t *testing.T) *regexp.Regexp {
	t.Helper()
	return pattern(t, "components", "schemas", "NewOrder", "properties", "item")
}

func acceptsText(s string) bool { return checkText(strings.TrimSpace(s), maxItem) == "" }

func TestTextMatchesContract(t *testing.T) {
	t.Parallel()
	contract := itemPattern(t)
	family := "👩\u200d👩\u200d👧"
	for s, want := range map[string]bool{
		"x": true, " x ": true, "a b": true, "Ноутбук": true, family: true, "می\u200cخواهم": true, "a\u00a0b": true, "🙂": true,
		"\u2028x\u0085": true, "\n x \r": true, "\u3000x\u1680": true, "a\u3000b": true, "e\u0301": true, "\ue000": true,
		strings.Repeat("ж", 200): true, strings.Repeat("𝔤", 200): true, " " + strings.Repeat("x", 200) + "\t": true,
		"": false, " ": false, "\u3000": false, "\u2028": false, strings.Repeat("x", 201): false,
		"\ufeff": false, "\ufeffx": false, "a\ufeffb": false, "a\u2028b": false, "a\u2029b": false, "a\nb": false, "a\u0085b": false,
		"\x00": false, "a\x00b": false, "a\x7fb": false, "a\u200bb": false, "\u200b": false, "a\u00adb": false, "\u2060": false,
		"a\u202eb": false, "\u2066a\u2069": false, "a\u200eb": false, "a\u061cb": false, "a\u180eb": false, "\ufff9": false,
		"\u200d": false, "a\u200d": false, "\u200ca": false, "a \u200d": false, "\ufffd": false, "a\ufffdb": false,
	} {
		require.Equal(t, want, acceptsText(s), "code, %+q", s)
		require.Equal(t, want, contract.MatchString(s), "contract, %+q", s)
	}
}

func TestTextMatchesContractForEveryCharacter(t *testing.T) {
	t.Parallel()
	contract := itemPattern(t)
	for r := rune(0); r <= 0x10FFFF; r++ {
		if !utf8.ValidRune(r) || r > 0xFFFF && r&0xFF != 0 { // sample the other planes: the rules name none of their characters
			continue
		}
		for _, s := range []string{string(r), "a" + string(r) + "b"} {
			if acceptsText(s) != contract.MatchString(s) {
				require.Equal(t, acceptsText(s), contract.MatchString(s), "%+q", s)
			}
		}
	}
}

func TestTextMatchesContractForRandomStrings(t *testing.T) {
	t.Parallel()
	contract := itemPattern(t)
	special := rapid.SampledFrom([]rune(" \t\n\r\x00\x1f\x7f\u0085\u00a0\u00ad\u061c\u1680\u180e\u2000\u200a\u200b\u200c\u200d\u200e\u200f" +
		"\u2028\u2029\u202e\u202f\u205f\u2060\u206f\u3000\ufeff\ufff9\ufffb\ufffd"))
	plain := rapid.SampledFrom([]rune("abж漢🙂\u0301"))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.OneOf(special, plain, rapid.Rune()), 0, 4, -1).Draw(t, "start") +
			rapid.StringOfN(plain, 0, 210, -1).Draw(t, "middle") +
			rapid.StringOfN(rapid.OneOf(special, plain, rapid.Rune()), 0, 4, -1).Draw(t, "end")
		if acceptsText(s) != contract.MatchString(s) {
			t.Fatalf("accepted by the code: %t, by the contract: %t: %+q", acceptsText(s), contract.MatchString(s), s)
		}
	})
}

// White space around a header value is not part of the value, so it is trimmed first.
func TestIdempotencyKeyMatchesContract(t *testing.T) {
	t.Parallel()
	contract := pattern(t, "components", "parameters", "IdempotencyKey", "schema")
	part := rapid.OneOf(rapid.SampledFrom([]rune(`"\ aZ~!#[]^`+"\x7f\u00a0é")), rapid.Rune())
	long := rapid.SampledFrom([]string{"", strings.Repeat("k", 250), strings.Repeat("k", 253), strings.Repeat("k", 254), strings.Repeat("k", 255), strings.Repeat("k", 256)})
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"", `"`}).Draw(t, "open") + rapid.StringOfN(part, 0, 3, -1).Draw(t, "start") +
			long.Draw(t, "middle") + rapid.StringOfN(part, 0, 3, -1).Draw(t, "end") + rapid.SampledFrom([]string{"", `"`}).Draw(t, "close")
		value = strings.Trim(value, " \t")
		key, err := IdempotencyKey(&http.Request{Header: http.Header{"Idempotency-Key": {value}}})
		if accepted := err == nil && key != ""; accepted != contract.MatchString(value) {
			t.Fatalf("accepted by the code: %t, by the contract: %t: %+q", accepted, contract.MatchString(value), value)
		}
	})
}
