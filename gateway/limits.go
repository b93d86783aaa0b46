package main

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// limits bounds how many requests each client may send, so that one client can neither take the
// capacity of the shop nor fill its tables. A refused request gets a 429 before its body is
// read. Each replica of the gateway counts for itself.
//
// The clients are kept in a table of bounded size. If there are more, those that were idle for
// longest are forgotten: they get a full quota again, and nobody is refused because of others.
// So the limits do not stop an attacker with very many addresses. [admission] then refuses what
// the shop cannot carry.
type limits struct {
	quotas  [limitsOfRequests]quota
	clients *lru.Cache[string, *buckets]
	limited *service.Limited
}

// The limits of requests. Their names are in the RateLimit fields, the log and the metrics.
const (
	limitReads = iota
	limitWrites
	limitKeys // writes with an Idempotency-Key, which is stored for a day
	limitsOfRequests
)

var (
	limitNames   = [limitsOfRequests]string{"reads", "writes", "keys"}
	limitDetails = [limitsOfRequests]string{
		"too many reads from this address", "too many writes from this address", "too many requests with an Idempotency-Key from this address",
	}
)

// buckets are the token buckets of a client, one for each limit that is not off.
type buckets [limitsOfRequests]*rate.Limiter

// maxClients is the size of the table. A client takes about 500 bytes.
const maxClients = 1 << 14

func newLimits(reads, writes, keys quota, limited *service.Limited) *limits {
	clients, _ := lru.New[string, *buckets](maxClients) // fails only if the size is not positive
	return &limits{quotas: [...]quota{limitReads: reads, limitWrites: writes, limitKeys: keys}, clients: clients, limited: limited}
}

// clientName returns the name by which the client that sent r is counted: its address, or in
// IPv6 its network, because a client can choose among 2^64 addresses there.
func clientName(r *http.Request) string {
	const network = 64
	address := clientAddress(r)
	if address.Is6() {
		return netip.PrefixFrom(address, network).Masked().String()
	}
	return address.String()
}

// admit takes the request of c out of the quotas of its client. If one of them is used up, it
// responds with 429 and returns false.
func (l *limits) admit(c *gin.Context) bool {
	if l.quotas == [limitsOfRequests]quota{} {
		return true
	}
	client := clientName(c.Request)
	b := l.bucketsOf(client)
	if isRead(c.Request.Method) {
		return l.take(c, client, b, limitReads)
	}
	return l.take(c, client, b, limitWrites) && (c.Request.Header.Get("Idempotency-Key") == "" || l.take(c, client, b, limitKeys))
}

func (l *limits) bucketsOf(client string) *buckets {
	if known, ok := l.clients.Get(client); ok {
		return known
	}
	b := &buckets{}
	for limit, q := range l.quotas {
		if q.burst > 0 {
			b[limit] = rate.NewLimiter(q.perSecond, q.burst)
		}
	}
	if concurrent, ok, _ := l.clients.PeekOrAdd(client, b); ok {
		return concurrent
	}
	return b
}

func (l *limits) take(c *gin.Context, client string, b *buckets, limit int) bool {
	bucket, now := b[limit], time.Now()
	if bucket == nil || bucket.AllowN(now, 1) {
		return true
	}
	q, name := l.quotas[limit], limitNames[limit]
	wait := max(1, int(math.Ceil((1-bucket.TokensAt(now))/float64(q.perSecond))))
	l.limited.Add(c.Request.Context(), name, client)
	refuse(c, limitDetails[limit], wait, q.policy(name), fmt.Sprintf("%q;r=0;t=%d", name, wait))
	return false
}

// refuse responds with 429. The values of the last two headers are those of
// draft-ietf-httpapi-ratelimit-headers-11.
func refuse(c *gin.Context, detail string, wait int, policy, remaining string) {
	c.Header("Retry-After", strconv.Itoa(wait))
	c.Header("RateLimit-Policy", policy)
	c.Header("RateLimit", remaining)
	problem.Write(c, problem.TooManyRequests(fmt.Sprintf("%s; nothing was done, retry in %d s", detail, wait)))
}
