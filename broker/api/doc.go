// Package api answers Kafka's requests: one file for each API, one table of
// routes ([Routes]), from which ApiVersions derives what the broker announces.
//
// A handler is a small type with what it needs and nothing else. It decodes (by
// kmsg, or in place for Produce and Fetch), asks the packages below, and puts
// their answers into a response. Errors of those packages become Kafka's codes
// here and nowhere else (codes.go).
package api
