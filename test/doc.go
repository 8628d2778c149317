// Package test holds the official Huawei Cloud clients against a started lacre: every
// operation of the Go SDK's two services, and the requests of the Terraform provider.
//
// It is a module of its own, since the SDK is large and nothing of Lacre needs it. It
// imports nothing of Lacre either: what it tests is the binary, over HTTP.
package test
