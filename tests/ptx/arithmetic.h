#ifndef KLDIV_TESTS_PTX_ARITHMETIC_H_
#define KLDIV_TESTS_PTX_ARITHMETIC_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

// The arithmetic that the PTX manual defines and C++ does not, and values as they lie in registers.
namespace kldiv::ptx {

template <class T>
inline constexpr uint8_t kBits = std::is_same_v<T, bool> ? 1 : 8 * sizeof(T);

// A value from the low bits of a register; what is above does not matter.
template <class T>
T FromBits(uint64_t bits) {
  if constexpr (std::is_same_v<T, bool>) {
    return (bits & 1) != 0;
  } else {
    T value;
    std::memcpy(&value, &bits, sizeof value);  // little-endian
    return value;
  }
}

template <class T>
uint64_t ToBits(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

// Shift amounts beyond the width give 0, or the sign.
template <class T>
T ShiftRight(T a, uint32_t n) {
  if (n >= kBits<T>) return a < T{0} ? static_cast<T>(-1) : T{0};
  return static_cast<T>(a >> n);
}

template <class T>
T ShiftLeft(T a, uint32_t n) {
  return n >= kBits<T> ? T{0} : static_cast<T>(a << n);
}

// `length` bits of ones from `position` on.
template <class U>
U FieldMask(uint32_t position, uint32_t length) {
  const U ones = length >= kBits<U> ? static_cast<U>(~U{0}) : static_cast<U>((U{1} << length) - 1);
  return ShiftLeft(ones, position);
}

// bfi: the low bits of a in place of a field of b.
template <class U>
U InsertField(U a, U b, uint32_t position, uint32_t length) {
  position &= 0xff;
  const U mask = FieldMask<U>(position, length & 0xff);
  return static_cast<U>((ShiftLeft(a, position) & mask) | (b & ~mask));
}

// bfe, unsigned.
template <class U>
U ExtractField(U a, uint32_t position, uint32_t length) {
  return static_cast<U>(ShiftRight(a, position & 0xff) & FieldMask<U>(0, length & 0xff));
}

// Of a number and a NaN the number; -0 is less than +0.
template <class F>
F Minimum(F a, F b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

template <class F>
F Maximum(F a, F b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

inline float FloatFromHalf(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const float sign = (half >> 15) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) {
    return fraction != 0 ? std::numeric_limits<float>::quiet_NaN()
                         : sign * std::numeric_limits<float>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

inline float FloatFromBfloat(uint16_t bfloat) { return FromBits<float>(uint64_t{bfloat} << 16); }

// prmt: each nibble of the selector picks a byte of b:a, or its sign eight times over.
inline uint32_t PermuteBytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t pick = selector >> (4 * i) & 15;
    const auto byte = static_cast<uint8_t>(bytes >> (8 * (pick & 7)));
    const bool sign = (byte & 0x80) != 0;
    const uint32_t value = (pick & 8) == 0 ? byte : sign ? 0xff : 0;
    result |= value << (8 * i);
  }
  return result;
}

// lop3: bit k of the table is the result for the three inputs' bits k = 4a + 2b + c.
inline uint32_t LogicTable(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t result = 0;
  for (uint32_t k = 0; k < 8; ++k) {
    if ((table >> k & 1) == 0) continue;
    result |= ((k & 4) != 0 ? a : ~a) & ((k & 2) != 0 ? b : ~b) & ((k & 1) != 0 ? c : ~c);
  }
  return result;
}

// shf: the high or the low half of b:a, shifted by n modulo 32.
inline uint32_t FunnelLeft(uint32_t a, uint32_t b, uint32_t n) {
  return static_cast<uint32_t>((uint64_t{b} << 32 | a) << (n & 31) >> 32);
}

inline uint32_t FunnelRight(uint32_t a, uint32_t b, uint32_t n) {
  return static_cast<uint32_t>((uint64_t{b} << 32 | a) >> (n & 31));
}

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_ARITHMETIC_H_
