package api

import (
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"

	"kairos/internal/devstack"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(devstack.Goroutine), goleak.Cleanup(func(code int) {
		http.DefaultClient.CloseIdleConnections()
		os.Exit(code)
	}))
}
