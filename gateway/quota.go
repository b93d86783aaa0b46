package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/time/rate"
)

// quota is how many requests a client may send. The zero value is no limit.
type quota struct {
	perSecond rate.Limit
	burst     int // what an idle client may send at once
}

// UnmarshalText parses "20/s burst 400", or "off" for no limit.
func (q *quota) UnmarshalText(text []byte) error {
	if *q = (quota{}); string(text) == "off" {
		return nil
	}
	perSecond, burst, _ := strings.Cut(string(text), "/s burst ")
	r, badRate := strconv.ParseFloat(perSecond, 64)
	b, badBurst := strconv.Atoi(burst)
	if badRate != nil || badBurst != nil || !(r > 0) || math.IsInf(r, 0) || b < 1 {
		return fmt.Errorf("%q is not a limit such as \"20/s burst 400\", or \"off\"", text)
	}
	*q = quota{rate.Limit(r), b}
	return nil
}

// policy is the item of RateLimit-Policy: after a window without requests, all of the quota is
// available again.
func (q quota) policy(name string) string {
	return fmt.Sprintf("%q;q=%d;w=%d", name, q.burst, int(math.Ceil(float64(q.burst)/float64(q.perSecond))))
}
