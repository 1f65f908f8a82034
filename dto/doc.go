// Package dto decides, from data alone, whether the hour of delivery changes
// how people respond, and which hour suits whom.
//
// Takes: counts per person and local hour (own activity, matured exploration
// deliveries, responses), masks of permitted hours, seeds.
//
// Gives: a [Model] with a verdict, an hour per person, test statistics with
// error control, off-policy values, lifts with intervals, drift alarms.
//
// Owns: nothing; every function is pure, and destination slices belong to the
// caller.
//
// Promises: same data and seed, same result, bit for bit, on one core or many;
// no allocation per person; a hypothesis of no effect is rejected in no more
// than the stated share of cases.
//
// Fails: with [kairos.ErrInvalid] on shapes and values that make no sense;
// where data are too few it does not fail but says so (verdict
// not_enough_data, estimates marked refused).
//
// # Shapes
//
// Tables of people by slots are [Matrix] values: row-major, N rows (people), S
// columns (slots: local hours 0..S-1), Stride == S. a is organic activity
// (events, possibly decayed, hence not whole), n the deliveries and r the
// responses of randomised, matured exploration traffic (whole numbers, r <= n).
// Curves are []float64 of length S: relative response rates with mean 1 over
// the slots that had any exposure.
//
// # Order of work
//
// [Fit] runs the whole of it: the common curve ([CommonCurve]), rhythms
// ([Rhythm]), clusters on rhythms ([KMeans]), curves of clusters
// ([ClusterCurves]), the stacked choice model ([Stack]), the two tests ([GCMH],
// [Focused]) and the verdict ([Decide]). Clusters come from activity, curves
// from responses: clusters made from responses and tested on the same
// responses reject a true null every time.
package dto
