package dto

import "math"

// hours returns the length of the circle of slots in hours: a week for 168
// slots, a day otherwise.
func hours(slots int) float64 {
	if slots == 168 {
		return 168
	}
	return 24
}

// kernel returns the circular Gaussian k_d ~ exp(-(d/bw)^2/2), d the distance in
// hours on the circle, sum 1, written twice in a row: the weights of slot s seen
// from slot j are kernel[S-s+j]. bw <= 0 is the identity.
func kernel(slots int, bw float64) []float64 {
	k := make([]float64, 2*slots)
	sum := 0.0
	for d := range slots {
		h := float64(min(d, slots-d)) * hours(slots) / float64(slots)
		switch {
		case bw > 0:
			k[d] = math.Exp(-0.5 * (h / bw) * (h / bw))
		case d == 0:
			k[d] = 1
		}
		sum += k[d]
	}
	for d := range slots {
		k[d] /= sum
		k[d+slots] = k[d]
	}
	return k
}

// smooth adds the row x, smoothed by the doubled kernel k, to dst.
func smooth[F float32 | float64](dst []float64, x []F, k []float64) {
	n := len(dst)
	for s, v := range x {
		if v == 0 {
			continue
		}
		w := k[n-s : 2*n-s]
		f := float64(v)
		for j := range dst {
			dst[j] += f * w[j]
		}
	}
}

// Smooth writes src, smoothed on the circle by a Gaussian of bandwidth bw hours
// (kernel sum 1, so totals stay), to dst and returns it. Both have length S;
// they must not overlap. bw <= 0 copies.
func Smooth(dst, src []float64, bw float64) []float64 {
	clear(dst)
	smooth(dst, src, kernel(len(src), bw))
	return dst
}

// CommonCurve writes to dst (length S) the curve that all people share and
// returns it: the conditional-Poisson maximum likelihood estimate of the
// relative response rate per slot, each person's own level profiled out, by
// iterative proportional fitting
//
//	E_s = sum_u r_u n_us / sum_t n_ut g_t;  g_s <- R_s / E_s;  mean g = 1,
//
// until no value moves by 1e-6 or for at most the given iterations (0: 30).
// People without a response carry no information and are skipped. Slots
// without any exposure have no estimate: they are set to 1 and left out of the
// mean. Source: McCullagh and Nelder, Generalized Linear Models, 1989, ch. 6.4;
// Breslow and Day, Statistical Methods in Cancer Research II, 1987, ch. 4.
func CommonCurve(dst []float64, r, n Matrix, iterations int) []float64 {
	s := r.Cols
	if iterations <= 0 {
		iterations = 30
	}
	parts := make([]float64, 2*chunks*s)
	sums := make([]float64, 2*s)
	totals := make([]float64, r.Rows) // r_u
	each(r.Rows, func(c, lo, hi int) {
		p := parts[c*2*s : (c+1)*2*s]
		for u := lo; u < hi; u++ {
			ru := row(r, u)
			nu := row(n, u)[:len(ru)]
			for i, v := range ru {
				totals[u] += float64(v)
				p[i] += float64(v)
				p[s+i] += float64(nu[i])
			}
		}
	})
	addUp(sums, parts)
	responses := append([]float64(nil), sums[:s]...)
	exposed, exposure := 0, append([]float64(nil), sums[s:]...)
	g := dst[:s]
	for i := range g {
		g[i] = 1
		if exposure[i] > 0 {
			exposed++
		}
	}
	parts, expect := parts[:chunks*s], sums[:s]
	for range iterations {
		clear(parts)
		each(r.Rows, func(c, lo, hi int) {
			e := parts[c*s : (c+1)*s]
			for u := lo; u < hi; u++ {
				if totals[u] == 0 {
					continue
				}
				nu := row(n, u)[:len(e)]
				d := 0.0
				for i, v := range nu {
					d += float64(v) * g[i]
				}
				if d <= 0 {
					continue
				}
				d = totals[u] / d
				for i, v := range nu {
					e[i] += float64(v) * d
				}
			}
		})
		addUp(expect, parts)
		mean := 0.0
		for i := range expect {
			if exposure[i] > 0 {
				expect[i] = (responses[i] + 1e-9) / math.Max(expect[i], 1e-12)
				mean += expect[i]
			}
		}
		if exposed == 0 || mean <= 0 {
			break
		}
		mean /= float64(exposed)
		moved := 0.0
		for i := range g {
			if exposure[i] > 0 {
				h := expect[i] / mean
				moved = math.Max(moved, math.Abs(h-g[i]))
				g[i] = h
			}
		}
		if moved < 1e-6 {
			break
		}
	}
	return g
}

// curveBandwidth is what response curves are smoothed by, in hours.
const curveBandwidth = 1.0

// smoothCurve smooths the curve over the exposed slots alone (weights of others
// are taken out of the kernel) and scales it to mean 1 over them.
func smoothCurve(g []float64, mask Mask) {
	s := len(g)
	num, den, on := make([]float64, s), make([]float64, s), make([]float64, s)
	for i := range g {
		if mask.Has(i) {
			on[i] = 1
			num[i] = g[i]
		}
	}
	k := kernel(s, curveBandwidth)
	smooth(den, on, k)
	top := make([]float64, s)
	smooth(top, num, k)
	for i := range g {
		if mask.Has(i) {
			g[i] = top[i] / den[i]
		} else {
			g[i] = 1
		}
	}
	normalise(g, mask)
}

// calm shrinks a smoothed curve towards prior (length S, log scale) by the share
// of signal in what remains, positive-part James-Stein:
//
//	log g <- prior + rho (log g - prior),
//	rho = (Q - df)+ / ((Q - df)+ + kappa df),  kappa = sum of squared kernel,
//
// Q the chi-square, with df degrees of freedom, of what the prior leaves
// unexplained, kappa the part of the noise that smoothing left over. Where the
// hour does not matter a noisy curve would otherwise speak as loudly as true
// rhythms. rho is at least .05, so that the order of slots is kept where the
// prior is flat. Source: Efron and Morris, Stein's estimation rule and its
// competitors, JASA 68, 1973.
func calm(g []float64, mask Mask, prior []float64, chi2 float64, df int) {
	rho := 0.05
	if df > 0 {
		left := 0.0
		for _, k := range kernel(len(g), curveBandwidth)[:len(g)] {
			left += k * k
		}
		signal := math.Max(0, chi2-float64(df))
		rho = math.Max(rho, signal/(signal+left*float64(df)))
	}
	for i := range g {
		if mask.Has(i) {
			g[i] = math.Exp(prior[i] + rho*(math.Log(math.Max(g[i], 1e-300))-prior[i]))
		}
	}
	normalise(g, mask)
}

// normalise scales the values of the mask's slots to mean 1.
func normalise(g []float64, mask Mask) {
	sum, n := 0.0, 0
	for i, v := range g {
		if mask.Has(i) {
			sum += v
			n++
		}
	}
	if n == 0 || sum <= 0 {
		return
	}
	sum /= float64(n)
	for i := range g {
		if mask.Has(i) {
			g[i] /= sum
		}
	}
}

// Expected writes to dst (length S) the responses expected in each slot of one
// person, given the person's total and the curve g, and returns dst:
// E_s = r_u n_s g_s / sum_t n_t g_t (0 where the person had no exposure).
func Expected(dst []float64, r, n []float32, g []float64) []float64 {
	total, d := 0.0, 0.0
	for i, v := range n {
		total += float64(r[i])
		d += float64(v) * g[i]
	}
	if d <= 0 {
		clear(dst)
		return dst
	}
	d = total / d
	for i, v := range n {
		dst[i] = float64(v) * g[i] * d
	}
	return dst
}
