package migrations

// The tests bring files of their own.
var (
	UpFiles      = up
	VersionFiles = version
)
