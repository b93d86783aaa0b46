package request

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text reads a string, trims white space and requires 1 to limit characters. The only
// invisible characters allowed are spaces and joiners between other characters. The
// pattern of an order's item in docs/openapi.yaml accepts the same strings.
func (o *Object) Text(name string, limit int) string {
	raw, ok := o.raw(name)
	if !ok {
		return ""
	}
	var s string
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		o.fail(name, "must be a string")
		return ""
	}
	s = strings.TrimSpace(s)
	if detail := checkText(s, limit); detail != "" {
		o.fail(name, detail)
	}
	return s
}

// checkText returns what is wrong with a trimmed text, or "".
func checkText(s string, limit int) string {
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		return "must not be empty"
	case n > limit:
		return "must have at most " + strconv.Itoa(limit) + " characters"
	case strings.ContainsRune(s, utf8.RuneError): // json.Unmarshal also decodes an unpaired surrogate to it
		return "must be valid Unicode text"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	case strings.ContainsFunc(s, isInvisible):
		return "must not contain line separators or invisible format characters"
	case strings.Trim(s, joiners) != s:
		return "must begin and end with a visible character"
	}
	return ""
}

// joiners are ZWNJ and ZWJ, which some scripts and emoji need.
const joiners = "\u200c\u200d"

// isInvisible reports whether r is a line separator or a format character (Unicode
// categories Zl, Zp and Cf) that no text needs. The characters are listed because the
// categories change with the Unicode version, here and in the engine that runs the
// contract's pattern.
func isInvisible(r rune) bool {
	switch {
	case r == 0x00AD, r == 0x061C, r == 0x180E, r == 0x200B, r == 0x200E, r == 0x200F, r == 0xFEFF,
		0x2028 <= r && r <= 0x202E, 0x2060 <= r && r <= 0x206F, 0xFFF9 <= r && r <= 0xFFFB:
		return true
	}
	return false
}
