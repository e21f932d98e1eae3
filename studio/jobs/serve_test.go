package jobs_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serve runs a NATS server on a port of its own and returns its address.
func serve(t *testing.T) string {
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("no server")
	}
	return s.ClientURL()
}
