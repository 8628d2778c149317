//go:build race

package edge_test

// The race detector makes ciphers an order of magnitude slower.
const large = 4 << 20
