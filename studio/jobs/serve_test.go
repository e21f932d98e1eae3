package jobs_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serve runs a NATS server on a port of its own and returns its address.
func serve(t *testing.T) string {
	s := serveIn(t, &server.Options{StoreDir: t.TempDir()})
	return s.ClientURL()
}

// serveIn runs a server with options of the test's own.
func serveIn(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.JetStream, o.Host, o.Port, o.NoSigs, o.NoLog = true, "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("no server")
	}
	return s
}

// network is a way to a server that can be cut.
type network struct {
	listener net.Listener

	mu    sync.Mutex
	to    string // the server's address; "" is cut
	conns []net.Conn
}

func newNetwork(t *testing.T, to string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: l, to: to}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if there := n.dial(c); there != nil {
				passing.Go(func() { io.Copy(there, c); there.Close() })
				passing.Go(func() { io.Copy(c, there); c.Close() })
			}
		}
	})
	t.Cleanup(func() { l.Close(); n.lead(""); passing.Wait() })
	return n
}

func (n *network) url() string { return "nats://" + n.listener.Addr().String() }

// dial is the other end of a connection; nil if the way is cut.
func (n *network) dial(c net.Conn) net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.to != "" {
		if there, err := net.Dial("tcp", n.to); err == nil {
			n.conns = append(n.conns, c, there)
			return there
		}
	}
	c.Close()
	return nil
}

// lead leads to another server, or cuts the way with "". All connections end.
func (n *network) lead(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = to
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}
