package delivery

import (
	"testing"

	"go.uber.org/goleak"

	"kairos/internal/devstack"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(devstack.Goroutine))
}
