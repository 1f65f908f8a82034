// Package deliverytest holds the receiving sides that providers are tried
// against, and the suite that all providers pass.
//
// Takes: a script of faults.
// Gives: SMTPSink, a fast SMTP server that counts; SendGrid, a server that speaks
// the v3 Mail Send format and emits signed events; Conformance, the suite;
// RunSink, the sink as a process of its own.
// Owns: its sockets and counters, nothing else.
// Promises: counters are independent of what a client believes: a message counts
// when the server took it, whether or not the client heard of it.
// Fails: with a plain error at start; a client's nonsense is answered as the
// protocol says.
package deliverytest
