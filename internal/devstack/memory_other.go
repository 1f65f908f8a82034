//go:build !linux

package devstack

func memoryDir() string { return "" }
