package dashboard

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// allDrawn asks whether each place for a chart holds one that has something on it.
const allDrawn = `(() => {
	const plots = [...document.querySelectorAll("[data-chart]")];
	return plots.length > 0 && plots.every((p) => {
		const c = p.querySelector("canvas");
		if (!c || c.width < 100 || c.height < 50 || c.getBoundingClientRect().width > p.getBoundingClientRect().width + 1) return false;
		const pixels = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		return pixels.some((v, i) => i % 4 == 3 && v > 0);
	});
})()`

func TestTimingInBrowser(t *testing.T) {
	b := openBrowser(t)
	s := fourKinds()
	w := newTimingWorld(t, s, nil)

	t.Run("charts", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Navigate(w.server.URL + modelPath(7)))
		b.becomes(allDrawn)
		require.True(t, b.is(`document.querySelectorAll("#kinds [data-figure]").length == 4 && document.querySelectorAll("#drift canvas").length == 2`))
		require.True(t, b.is(`document.querySelectorAll("#kinds .figures-table tbody tr").length == 4 * 24`), "the figures can be read without the charts")
		require.True(t, b.is(`(() => { const o = [...document.querySelectorAll("#kinds figure")].map((f) => f.getBoundingClientRect());
			return o[0].top == o[1].top && o[0].left < o[1].left })()`), "side by side")

		// The pointer reads both charts of a figure.
		require.True(t, b.is(`(() => { const over = document.querySelector("#kinds .u-over"), r = over.getBoundingClientRect();
			over.dispatchEvent(new MouseEvent("mouseenter", { clientX: r.left, clientY: r.top }));
			over.dispatchEvent(new MouseEvent("mousemove", { clientX: r.left + r.width * 8.5 / 24, clientY: r.top + 20, bubbles: true })); return true })()`))
		b.shows("#kinds [data-readout]", "08:00 · 1.57 times")
		b.shows("#kinds [data-readout]", "% active")
	})

	t.Run("phone", func(t *testing.T) {
		b.t = t
		b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
		for _, path := range []string{"/dashboard/timing", modelPath(7), modelPath(9), modelPath(4)} {
			b.do(chromedp.Navigate(w.server.URL + path))
			if path != "/dashboard/timing" {
				b.becomes(allDrawn)
			}
			require.True(t, b.is(`document.documentElement.scrollWidth <= 390`), path+" fits")
		}
		b.do(chromedp.Navigate(w.server.URL + modelPath(7)))
		b.becomes(allDrawn)
		require.True(t, b.is(`(() => { const o = [...document.querySelectorAll("#kinds figure")].map((f) => f.getBoundingClientRect());
			return o[0].left == o[1].left && o[0].bottom <= o[1].top })()`), "stacked")
		b.do(chromedp.EmulateViewport(1280, 900))
		b.becomes(`document.querySelector("#kinds canvas").getBoundingClientRect().width > 400`)
	})

	t.Run("dark", func(t *testing.T) {
		b.t = t
		const first = `document.querySelector("#kinds canvas").toDataURL()`
		require.True(t, b.is(`(window.light = `+first+`, true)`))
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
		require.NoError(t, err)
		b.becomes(first + ` != window.light`)
		b.becomes(allDrawn)
	})

	t.Run("promote", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Navigate(w.server.URL + modelPath(9)))
		b.do(chromedp.Click(chromedp.CSS("#decide-promote summary")))
		b.do(chromedp.SendKeys(chromedp.CSS("#reason-promote"), "It passed."))
		b.do(chromedp.Click(chromedp.CSS("#decide-promote button")))
		require.True(t, b.is(`document.querySelector("#by-promote").matches(":invalid")`), "the browser asks for the name")
		// Where it doesn't, the server does, and what was typed stays.
		require.True(t, b.is(`(document.querySelector("#by-promote").required = false, true)`))
		b.do(chromedp.Click(chromedp.CSS("#decide-promote button")))
		b.shows("#wrong-promote", "Your name is missing.")
		require.True(t, b.is(`document.querySelector("#decide-promote").open && document.querySelector("#reason-promote").value == "It passed."`))
		require.Empty(t, s.asked)
		b.do(chromedp.SendKeys(chromedp.CSS("#by-promote"), "Ada Lovelace"))
		b.do(chromedp.Click(chromedp.CSS("#decide-promote button")))
		b.becomes(`location.pathname == "` + modelPath(9) + `" && !document.querySelector("#wrong-promote")`)
		require.Equal(t, []string{"promote 9 by Ada Lovelace: It passed."}, s.asked)
	})

	t.Run("follows a trial", func(t *testing.T) {
		b.t = t
		s.mu.Lock()
		c := s.models[0].Canary
		running := *c
		running.Done, running.Progress = false, .43
		s.models[0].Canary = &running
		s.mu.Unlock()
		b.do(chromedp.Navigate(w.server.URL + modelPath(9)))
		b.shows("#trial", "43%")
		b.becomes(allDrawn)
		s.mu.Lock()
		s.models[0].Canary = c
		s.mu.Unlock()
		b.shows("#trial", "It passed")
		b.becomes(allDrawn)
	})

	// Nothing broke the policy; the 400 is the form that was refused.
	b.t = t
	for _, said := range b.complaints() {
		require.Contains(t, said, "400")
	}
}
