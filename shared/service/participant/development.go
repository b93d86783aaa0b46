package participant

import (
	"fmt"
	"net/netip"
	"strings"
)

// checkPasswords refuses the development passwords unless the published ports of the shop are
// bound to a loopback address, where only this machine reaches them.
func (c *Config) checkPasswords() error {
	if !c.Database.ForDevelopment() && !c.Broker.ForDevelopment() || loopback(c.BindAddr) {
		return nil
	}
	return fmt.Errorf("BIND_ADDR is %q, which other machines may reach, and the password of the database or the broker is a development password, "+
		"which everybody can read in the repository: make up makes random ones, or set BIND_ADDR to 127.0.0.1", c.BindAddr)
}

func loopback(addr string) bool {
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	return addr == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
