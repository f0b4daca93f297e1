package kernel

// What kernels_amd64.s holds. Distances (ld...) are in bytes, k8 is K/8. Nothing is checked there.

//go:noescape
func dot6x64avx512(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func dot4x64avx512(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func dot2x64avx512(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func dot1x64avx512(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func float6x64avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float6x32avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float6x16avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float4x64avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float4x32avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float4x16avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float2x64avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float2x32avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float2x16avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float1x64avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float1x32avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float1x16avx512(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func dot4x16avx2(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func dot2x16avx2(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func dot1x16avx2(c *float32, ldc uintptr, a *uint8, lda uintptr, w *int8, pw uintptr, k8 int, rows *Row, sum *int32, scale *float32, bias *float32, mode int)

//go:noescape
func float4x16avx2(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float2x16avx2(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func float1x16avx2(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int)

//go:noescape
func gemvavx2(y *float32, x *float32, w *int8, scale *float32, bias *float32, n int, k int)

//go:noescape
func embedavx2(dst *float32, row *int8, scale *float32, pos *float32, n int)

//go:noescape
func normavx2(q *uint8, x *float32, gain *float32, bias *float32, tmp *float32, n int, row *Row)

//go:noescape
func quantavx2(q *uint8, x *float32, n int, row *Row)

//go:noescape
func softmaxavx2(s *float32, n int, scale *float32)

//go:noescape
func columnsavx2(dst *float32, src *float32, ld uintptr, rows int, cols int)

//go:noescape
func transpose8avx2(dst *float32, src *float32, ld uintptr, cols int)

//go:noescape
func poolavx2(mean *float32, most *float32, x *float32, rows int, cols int)
