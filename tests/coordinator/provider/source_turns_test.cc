#include "coordinator/provider/source_turns.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using Turn = SourceTurns::Turn;
using Wait = SourceTurns::Wait;

class SourceTurnsTest : public ::testing::Test {
 protected:
  // "turn", or why there is none ("soon" without a reason). A turn lasts until give_back().
  std::string ask(const std::string& source, const std::string& who) {
    auto answer = turns_.take(source, who);
    if (auto* const wait = std::get_if<Wait>(&answer)) {
      after_ = wait->after;
      return wait->why.empty() ? "soon" : wait->why;
    }
    held_.push_back(std::get<Turn>(std::move(answer)));
    return "turn";
  }
  void give_back() { held_.pop_front(); }
  void call(const std::string& source, std::chrono::seconds time,
            std::optional<ErrorKind> failure = {}) {
    SourceTurns::Call call(turns_, source);
    clock_.advance(time);
    call.end(failure);
  }

  const std::string source_ = "a";
  FakeClock clock_;
  std::vector<std::string> woken_;
  SourceTurns turns_{
      {.per_source = 2, .wake = [this](const std::string& who) { woken_.push_back(who); }}, clock_};
  std::deque<Turn> held_;
  std::chrono::nanoseconds after_{};
};

TEST_F(SourceTurnsTest, ASourceHasSoManyTurnsAndOthersTheirOwn) {
  EXPECT_EQ(ask("a", "1"), "turn");
  EXPECT_EQ(ask("a", "2"), "turn");
  EXPECT_EQ(ask("a", "3"), "soon");
  EXPECT_EQ(ask("b", "4"), "turn");
  give_back();
  EXPECT_EQ(woken_, std::vector<std::string>{"3"});
  EXPECT_EQ(ask("a", "3"), "turn");
}

TEST_F(SourceTurnsTest, WhoWaitsIsTurnedAwayTogetherButComesBackSpread) {
  ask("a", "1");
  ask("a", "2");
  ask("a", "3");
  EXPECT_LT(after_, 1s);
  for (int i = 0; i < 10'000; ++i) ask("a", "n/" + std::to_string(i));
  EXPECT_EQ(after_, 5s) << "a look of each is no load";
  give_back();
  EXPECT_EQ(woken_.size(), 1u);
}

TEST_F(SourceTurnsTest, ACallThatHangsIsToldToThoseThatWait) {
  ask("a", "1");
  ask("a", "2");
  SourceTurns::Call hangs(turns_, source_);
  EXPECT_EQ(ask("a", "3"), "soon");
  clock_.advance(SourceTurns::kSlow + 1s);
  EXPECT_EQ(ask("a", "3"), "it has not answered for a while, and others are asking it");
  EXPECT_EQ(ask("b", "4"), "turn");
}

TEST_F(SourceTurnsTest, AfterATimeoutNobodyAsksForALittleAndThenOne) {
  EXPECT_EQ(ask("a", "1"), "turn");
  call("a", 120s, ErrorKind::DeadlineExceeded);
  EXPECT_TRUE(turns_.rests("a"));
  EXPECT_FALSE(turns_.rests("b"));
  EXPECT_NE(ask("a", "2").find("does not answer"), std::string::npos);
  give_back();
  clock_.advance(after_);
  EXPECT_FALSE(turns_.rests("a"));
  EXPECT_EQ(ask("a", "2"), "turn");
  EXPECT_EQ(ask("a", "3"), "soon") << "one tries for all";
  call("a", 1s);
  EXPECT_EQ(ask("a", "3"), "turn") << "it answers again";
}

TEST_F(SourceTurnsTest, ItRestsLongerEachTimeButHalfAMinuteAtMost) {
  std::chrono::nanoseconds last{};
  for (int i = 0; i < 8; ++i) {
    call("a", 120s, ErrorKind::DeadlineExceeded);
    EXPECT_NE(ask("a", "1"), "turn");
    EXPECT_GE(after_, i > 3 ? 24s : 4s);
    EXPECT_LE(after_, i == 0 ? 6s : 31s);
    clock_.advance(after_);
  }
}

// Twenty that hung together have learnt one thing.
TEST_F(SourceTurnsTest, CallsThatTimeOutTogetherCountOnce) {
  {
    std::deque<SourceTurns::Call> calls;
    for (int i = 0; i < 20; ++i) calls.emplace_back(turns_, source_);
    clock_.advance(120s);
    for (auto& call : calls) call.end(ErrorKind::DeadlineExceeded);
  }
  EXPECT_NE(ask("a", "1"), "turn");
  EXPECT_LE(after_, 6s);
}

TEST_F(SourceTurnsTest, ARefusedConnectionIsAnAnswerAndAStopIsNone) {
  call("a", 120s, ErrorKind::DeadlineExceeded);
  clock_.advance(31s);
  call("a", 1s, ErrorKind::Canceled);
  ask("a", "1");
  EXPECT_EQ(ask("a", "2"), "soon") << "a stopped call says nothing";
  call("a", 0s, ErrorKind::Unavailable);
  EXPECT_EQ(ask("a", "2"), "turn");
}

}  // namespace
}  // namespace vmferry
