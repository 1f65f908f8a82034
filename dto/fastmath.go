package dto

import "math"

// fastLog returns ln x for normal x > 0 with a relative error below 1e-8 of
// max(1, |ln x|). ln x = e ln 2 + 2 atanh((m-1)/(m+1)), m in [sqrt 1/2, sqrt 2).
func fastLog(x float64) float64 {
	b := math.Float64bits(x)
	e := int64(b>>52) - 1023
	b = b&(1<<52-1) | 1023<<52
	m := math.Float64frombits(b)
	if m > math.Sqrt2 {
		m *= 0.5
		e++
	}
	t := (m - 1) / (m + 1)
	t2 := t * t
	p := 1 + t2*(1.0/3+t2*(1.0/5+t2*(1.0/7+t2*(1.0/9+t2*(1.0/11)))))
	return float64(e)*math.Ln2 + 2*t*p
}

// fastExp returns e^x for |x| < 700 with a relative error below 1e-8.
func fastExp(x float64) float64 {
	k := math.Floor(x*math.Log2E + 0.5)
	f := x - k*math.Ln2 // |f| <= ln2/2
	p := 1 + f*(1+f*(1.0/2+f*(1.0/6+f*(1.0/24+f*(1.0/120+f*(1.0/720+f*(1.0/5040+f*(1.0/40320))))))))
	return math.Float64frombits(uint64(int64(k)+1023)<<52) * p
}
