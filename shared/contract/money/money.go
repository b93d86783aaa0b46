// Package money implements exact amounts in the shop's only currency.
//
// An amount is stored as an integer number of minor units (kopeks). In JSON it is a number
// with at most two decimals. The conversion does not use floats and never rounds: Parse
// rejects text that is not an exact amount.
package money

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Amount is an amount of money in minor units: 1999 is 19.99.
type Amount int64

// Max is the largest amount that a request may contain, and the largest sum of all deposits to
// an account, so a balance cannot exceed it: 9999999999999.99. Numbers of up to fifteen digits
// survive a round trip through a double, so every JSON parser reads them without loss.
const Max Amount = 999_999_999_999_999

const (
	minorPerMajor = 100
	decimals      = 2
)

// Errors of [Parse].
var (
	ErrNotANumber = errors.New("must be a plain decimal number, such as 1000 or 19.99")
	ErrDecimals   = errors.New("must have at most two decimals")
	ErrRange      = fmt.Errorf("must be at most %s", Max)
)

// Parse reads a JSON number literal without an exponent: an optional minus,
// digits, and at most two decimals. The error is one of ErrNotANumber,
// ErrDecimals and ErrRange.
func Parse(s string) (Amount, error) {
	a, err := parse(s)
	if err == nil && (a > Max || a < -Max) {
		return 0, ErrRange
	}
	return a, err
}

// parse is like Parse, but accepts every value that fits in an Amount.
func parse(s string) (Amount, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, hasPoint := strings.Cut(digits, ".")
	if !isDigits(whole) || hasPoint && !isDigits(fraction) || len(whole) > 1 && whole[0] == '0' {
		return 0, ErrNotANumber
	}
	if len(fraction) > decimals {
		return 0, ErrDecimals
	}
	fraction += strings.Repeat("0", decimals-len(fraction))
	minor, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		return 0, ErrRange
	}
	if negative {
		minor = -minor
	}
	return Amount(minor), nil
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String returns the amount as a JSON number: 1000, 19.9, 19.99.
func (a Amount) String() string {
	sign, minor := "", uint64(a) //nolint:gosec // the line below negates a negative amount
	if a < 0 {
		sign, minor = "-", -minor
	}
	whole := sign + strconv.FormatUint(minor/minorPerMajor, 10)
	switch rest := minor % minorPerMajor; {
	case rest == 0:
		return whole
	case rest%10 == 0:
		return whole + "." + strconv.FormatUint(rest/10, 10)
	case rest < 10:
		return whole + ".0" + strconv.FormatUint(rest, 10)
	default:
		return whole + "." + strconv.FormatUint(rest, 10)
	}
}

// MarshalJSON writes the amount as a JSON number.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalJSON parses the output of MarshalJSON. Unlike [Parse], it accepts amounts above Max.
func (a *Amount) UnmarshalJSON(b []byte) error {
	v, err := parse(string(b))
	if err != nil {
		return fmt.Errorf("amount %s: %w", b, err)
	}
	*a = v
	return nil
}
