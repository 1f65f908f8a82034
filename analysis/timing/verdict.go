package timing

import (
	"fmt"
	"math"

	"kairos/dto"
)

// alpha is the error rate of the k-th look at a growing log: alpha/(k(k+1)), so
// that all looks together have at most alpha.
func (r *Registry) alpha(look int) float64 {
	return r.opts.Alpha / (float64(look) * float64(look+1))
}

// comparing is what the responses are worth for comparing hours: the trace of
// the main test's variance, sum over people of
//
//	r (n - r)/(n - 1) (1 - sum_s f_s^2),  f_s = n_s/n,
//
// close to the number of responses where people were tried at many hours, and 0
// where everybody was tried at one hour only, or all or nobody responded: then
// nothing can be seen, however many responses there are.
func comparing(d dto.Data) int64 {
	sum := 0.0
	for u := range d.Delivered.Rows {
		n, r, squares := 0.0, 0.0, 0.0
		for s := range d.Delivered.Cols {
			v := float64(d.Delivered.Data[u*d.Delivered.Stride+s])
			n, squares = n+v, squares+v*v
			r += float64(d.Responded.Data[u*d.Responded.Stride+s])
		}
		if n > 1 {
			sum += r * (n - r) / (n - 1) * (1 - squares/(n*n))
		}
	}
	return int64(sum)
}

// sober takes back a verdict of null that the data could not have contradicted.
func sober(fit *dto.Model, comparing int64) {
	d := &fit.Decision
	if lacks := d.NeededResponses - float64(comparing); d.Verdict == dto.Null && lacks > 0 {
		d.Verdict = dto.NotEnoughData
		d.NeededDeliveries = math.Ceil(lacks * (fit.Deliveries + 20) / (fit.Responses + 1))
		d.Reason = fmt.Sprintf("no effect seen, but people were tried at too few different hours to see one: their responses are worth %d of %.0f", comparing, d.NeededResponses)
	}
}
