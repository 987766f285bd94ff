#include "coordinator/imports/progress_pace.h"

#include <gtest/gtest.h>

namespace vmferry::imports {
namespace {

using namespace std::chrono_literals;

TEST(ProgressPaceTest, AFewWriteAsOftenAsTheirSettingsSay) {
  ProgressPace pace;
  SteadyTime now{1h};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pace.interval(std::to_string(i), 2s, now), 2s);
}

TEST(ProgressPaceTest, ManyShareWhatAllMayWrite) {
  ProgressPace pace;
  SteadyTime now{1h};
  std::chrono::nanoseconds last{};
  for (int i = 0; i < 400; ++i) last = pace.interval(std::to_string(i), 2s, now);
  EXPECT_EQ(last, 400s / ProgressPace::kWritesPerSecond);
  EXPECT_EQ(pace.interval("0", 2s, now), last) << "asking again makes nobody more";
}

TEST(ProgressPaceTest, ThoseThatEndedDoNotCountForLong) {
  ProgressPace pace;
  SteadyTime now{1h};
  for (int i = 0; i < 400; ++i) pace.interval(std::to_string(i), 2s, now);
  now += ProgressPace::kCounts + 1s;
  EXPECT_EQ(pace.interval("late", 2s, now), 2s);
}

}  // namespace
}  // namespace vmferry::imports
