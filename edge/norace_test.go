//go:build !race

package edge_test

const large = 64 << 20
