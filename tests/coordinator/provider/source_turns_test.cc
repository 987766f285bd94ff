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
  // Sources that are known to answer.
  void SetUp() override {
    for (const char* source : {"a", "b"}) call(source, std::chrono::seconds(0));
    woken_.clear();
  }
  SourceTurns turns_{{.per_source = 2,
                      .at_silent = 4,
                      .wake = [this](const std::string& who) { woken_.push_back(who); }},
                     clock_};
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

// By arrival, not by name; and a newcomer is not before whoever was called.
TEST_F(SourceTurnsTest, TurnsAreHandedOnInTheOrderOfArrival) {
  ask("a", "1");
  ask("a", "2");
  for (const char* who : {"z", "m", "b"}) EXPECT_EQ(ask("a", who), "soon");
  EXPECT_EQ(ask("a", "m"), "soon") << "asking again is no new arrival, neither earlier nor later";
  give_back();
  EXPECT_EQ(woken_, std::vector<std::string>{"z"});
  EXPECT_EQ(ask("a", "a newcomer"), "soon");
  EXPECT_EQ(ask("a", "m"), "soon");
  EXPECT_EQ(ask("a", "z"), "turn");
  give_back();
  EXPECT_EQ(woken_, (std::vector<std::string>{"z", "m"}));
  clock_.advance(3s);
  EXPECT_EQ(ask("a", "b"), "turn") << "who was called and does not come holds up nobody";
  EXPECT_EQ(ask("a", "m"), "soon") << "and is still before later ones:";
  give_back();
  EXPECT_EQ(ask("a", "m"), "turn");
}

TEST_F(SourceTurnsTest, WhoDoesNotComeAnyMoreIsForgotten) {
  ask("a", "1");
  ask("a", "2");
  ask("a", "was deleted");
  ask("a", "x");
  give_back();
  clock_.advance(WaitingLine::kForgotten);
  EXPECT_EQ(ask("a", "x"), "turn");
  give_back();
  EXPECT_EQ(woken_, std::vector<std::string>{"was deleted"});
}

TEST_F(SourceTurnsTest, HoweverItIsSpeltItIsOneSource) {
  EXPECT_EQ(source_key("HTTPS://VCenter.Example.com/sdk"), "https://vcenter.example.com:443");
  EXPECT_EQ(source_key("https://vcenter.example.com:443/"), "https://vcenter.example.com:443");
  EXPECT_NE(source_key("https://vcenter.example.com:8443/"), "https://vcenter.example.com:443");
  call("https://v.example.com/sdk", 120s, ErrorKind::DeadlineExceeded);
  EXPECT_TRUE(turns_.rests("https://V.example.com:443/sdk/"));
  EXPECT_NE(ask("https://v.EXAMPLE.com", "1"), "turn");
}

TEST_F(SourceTurnsTest, OneAsksASourceThatHasNeverAnswered) {
  EXPECT_EQ(ask("new", "1"), "turn");
  EXPECT_EQ(ask("new", "2"), "soon");
  EXPECT_EQ(ask("new", "3"), "soon");
  call("new", 0s);
  EXPECT_EQ(woken_, std::vector<std::string>{"2"}) << "it answers: there is room for one more";
  EXPECT_EQ(ask("new", "2"), "turn");
}

// However many sources are silent, half of the workers are left for those that answer.
TEST_F(SourceTurnsTest, AllSilentSourcesTogetherHaveSoManyTurns) {
  std::deque<SourceTurns::Call> calls;
  for (int i = 0; i < 9; ++i) {
    const std::string source = "silent" + std::to_string(i);
    const std::string answer = ask(source, source);
    EXPECT_EQ(answer == "turn", i < 4) << i << ": " << answer;
    if (answer == "turn") calls.emplace_back(turns_, source);
  }
  EXPECT_EQ(ask("a", "1"), "turn");
  EXPECT_EQ(ask("a", "2"), "turn");
  EXPECT_EQ(ask("b", "3"), "turn");

  clock_.advance(120s);
  for (auto& hangs : calls) hangs.end(ErrorKind::DeadlineExceeded);
  woken_.clear();
  give_back();
  EXPECT_EQ(woken_, std::vector<std::string>{"silent4"}) << "the first that was held back";
  EXPECT_EQ(ask("silent4", "silent4"), "turn");
}

TEST_F(SourceTurnsTest, ASourceThatHasFallenSilentCountsAsSilent) {
  ask("a", "1");
  ask("a", "2");
  ask("b", "3");
  ask("b", "4");
  SourceTurns::Call one(turns_, "a");
  SourceTurns::Call other(turns_, "b");
  EXPECT_EQ(ask("new", "5"), "turn") << "they have just been asked";
  clock_.advance(SourceTurns::kSlow + 1s);
  EXPECT_NE(ask("another", "6"), "turn");
  one.end(std::nullopt);
  other.end(std::nullopt);
  EXPECT_EQ(ask("another", "6"), "turn");
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
