//go:build !race

package email_test

import (
	"testing"

	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
	"kairos/internal/instructions"
)

func TestInstructionsOfComposing(t *testing.T) {
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	var c email.Composer
	buf := make([]byte, 0, 64<<10)
	instructions.Check(t, "composing a mail of 5 KB", 28246, func() {
		if _, err := c.AppendMessage(buf, m); err != nil {
			panic(err)
		}
	})
}
