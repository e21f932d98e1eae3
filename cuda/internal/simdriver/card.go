package simdriver

// Card is what a card tells of itself. Chips of cards are in package simgpu.
type Card struct {
	Name            string
	Capability      int   // 86 for 8.6
	Memory          int64 // bytes
	Multiprocessors int
	Shared          int // bytes of shared memory that a block can have
	SharedPerSM     int
	L2              int // bytes
	Clock           int // kHz
	MemoryClock     int // kHz
	BusWidth        int // bits
	Driver          int // the newest CUDA that the driver knows: 12040 is 12.4
}

// Cards, as NVIDIA describes them.
var (
	RTX3060 = Card{"NVIDIA GeForce RTX 3060", 86, 12 << 30, 28, 101376, 102400, 2359296, 1777000, 7501000, 192, 12040}
	RTX4060 = Card{"NVIDIA GeForce RTX 4060", 89, 8 << 30, 24, 101376, 102400, 25165824, 2460000, 8501000, 128, 12040}
	H100    = Card{"NVIDIA H100 80GB HBM3", 90, 80 << 30, 132, 232448, 233472, 52428800, 1980000, 2619000, 5120, 12040}
	GTX1080 = Card{"NVIDIA GeForce GTX 1080", 61, 8 << 30, 20, 49152, 98304, 2097152, 1733500, 5005000, 256, 12040} // too old for the kernels
)

// attributes are the driver's numbers for them.
func (c Card) attributes() map[int32]int {
	return map[int32]int{
		1: 1024, 13: c.Clock, 16: c.Multiprocessors, 17: 0, 36: c.MemoryClock, 37: c.BusWidth, 38: c.L2, 75: c.Capability / 10, 76: c.Capability % 10, 81: c.SharedPerSM, 97: c.Shared,
	}
}

// Code is a CUresult.
type Code int32

// The codes that the machine answers with, and that tests order.
const (
	InvalidValue       Code = 1
	OutOfMemory        Code = 2
	NotInitialized     Code = 3
	NoDevice           Code = 100
	InvalidDevice      Code = 101
	InvalidContext     Code = 201
	NoBinary           Code = 209
	InvalidPTX         Code = 218
	InvalidHandle      Code = 400
	NotFound           Code = 500
	IllegalAddress     Code = 700
	LaunchFailed       Code = 719
	CaptureUnsupported Code = 900
	CaptureInvalidated Code = 901
	Unknown            Code = 999
)

// words are the driver's for the codes.
var words = map[Code][]byte{
	InvalidValue: []byte("CUDA_ERROR_INVALID_VALUE\x00"), OutOfMemory: []byte("CUDA_ERROR_OUT_OF_MEMORY\x00"),
	NotInitialized: []byte("CUDA_ERROR_NOT_INITIALIZED\x00"), NoDevice: []byte("CUDA_ERROR_NO_DEVICE\x00"),
	InvalidDevice: []byte("CUDA_ERROR_INVALID_DEVICE\x00"), InvalidContext: []byte("CUDA_ERROR_INVALID_CONTEXT\x00"),
	NoBinary: []byte("CUDA_ERROR_NO_BINARY_FOR_GPU\x00"), InvalidPTX: []byte("CUDA_ERROR_INVALID_PTX\x00"),
	InvalidHandle: []byte("CUDA_ERROR_INVALID_HANDLE\x00"), NotFound: []byte("CUDA_ERROR_NOT_FOUND\x00"),
	IllegalAddress: []byte("CUDA_ERROR_ILLEGAL_ADDRESS\x00"), LaunchFailed: []byte("CUDA_ERROR_LAUNCH_FAILED\x00"),
	CaptureUnsupported: []byte("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED\x00"), CaptureInvalidated: []byte("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED\x00"),
	Unknown: []byte("CUDA_ERROR_UNKNOWN\x00"),
}
