module github.com/atelier-go/atelier/cpu/internal/kernel/gemm/_asm

go 1.26.0
