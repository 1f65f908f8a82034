// Package rig runs Kairos from outside, as an operator would: real processes
// that are waited for, watched and ended, and a client of the REST API.
//
// Takes: a program with its arguments and environment; an address and a key.
// Gives: Begin (a child tied to this process's life), Start (a Process that has
// told where it is), Client.
// Owns: the processes it starts and their log files.
// Promises: no process outlives this one, even when this one is killed with
// SIGKILL (Linux; elsewhere who started it must see to that: KernelReaps); a
// Process that Start returns is ready.
// Fails: with the end of the process's log when it ends or stays silent, and
// with the API's answer when that is an error.
package rig
