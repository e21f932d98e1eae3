package studio

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// Whatever the tests of the studio do, nothing calls out: a dial to another machine, or the look-up of its name, ends the run.
func init() {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); host != "localhost" && (err != nil || ip == nil || !ip.IsLoopback()) {
			panic(fmt.Sprintf("the studio dials %s %s", network, address))
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	http.DefaultTransport.(*http.Transport).DialContext = dial
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: dial}
}
