#include "server/numerics/float_control.h"

#include <gtest/gtest.h>

#include <bit>
#include <thread>

#include "server/numerics/scalar.h"

namespace kldiv::numerics {
namespace {

// The loss of a subnormal float's target; volatile, so that it is computed here and now.
double SubnormalLoss() {
  volatile float smallest = std::bit_cast<float>(1u);
  return scalar::Element(Formula{}, -1.5, static_cast<double>(smallest));
}

TEST(FloatControl, GivesSubnormalsBackToAThreadThatFlushesThem) {
  std::thread([] {
    const double expected = SubnormalLoss();
    EXPECT_LT(expected, 0.0);
    FlushSubnormals();
    const double flushed = SubnormalLoss();
    ResetFloatControl();
    EXPECT_EQ(flushed, 0.0);
    EXPECT_EQ(SubnormalLoss(), expected);
  }).join();
}

}  // namespace
}  // namespace kldiv::numerics
