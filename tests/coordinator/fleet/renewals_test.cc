#include "coordinator/fleet/renewals.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <map>

namespace vmferry {
namespace {

using namespace std::chrono_literals;

class RenewalsTest : public ::testing::Test {
 protected:
  static protocol::RenewRequest request(const std::string& job, std::uint64_t sequence = 1) {
    protocol::RenewRequest request;
    request.job = JobId{job};
    request.attempt = 1;
    request.sequence = sequence;
    return request;
  }
  bool has_answers(std::size_t count) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (answered_.size() < count && std::chrono::steady_clock::now() < until) {
      for (RenewalAnswer& answer : answers_.take_all()) {
        answered_.push_back(answer.renewed.job.value);
      }
      std::this_thread::sleep_for(1ms);
    }
    return answered_.size() >= count;
  }

  Mailbox<RenewalAnswer> answers_;
  std::vector<std::string> answered_;
};

TEST_F(RenewalsTest, ASourceThatSaysNothingHoldsUpItsOwnDisksOnly) {
  std::latch over(1);
  std::atomic<int> hanging = 0, most_hanging = 0;
  Renewals renewals(
      [&](const JobId& job, const std::stop_token&) -> Result<RenewedSource> {
        if (job.value.starts_with("silent")) {
          most_hanging = std::max<int>(most_hanging, ++hanging);
          over.wait();
          --hanging;
        }
        return Error(ErrorKind::Unavailable, "answered");
      },
      Logger(), answers_);
  for (int i = 0; i < 40; ++i) {
    renewals.ask("https://silent", "peer", request("silent" + std::to_string(i)));
  }
  for (const char* job : {"a", "b", "c"}) renewals.ask("https://well", "peer", request(job));
  EXPECT_TRUE(has_answers(3));
  EXPECT_EQ(answered_, (std::vector<std::string>{"a", "b", "c"})) << "in their order";
  over.count_down();
  EXPECT_TRUE(has_answers(43));
  EXPECT_EQ(most_hanging, 1) << "one at a time of a source";
}

TEST_F(RenewalsTest, AQuestionThatIsBeingAnsweredIsNotAskedAgain) {
  std::latch over(1);
  std::atomic<int> asked = 0;
  Renewals renewals(
      [&](const JobId&, const std::stop_token&) -> Result<RenewedSource> {
        ++asked;
        over.wait();
        return Error(ErrorKind::Unavailable, "answered");
      },
      Logger(), answers_);
  for (int i = 0; i < 3; ++i) renewals.ask("s", "peer", request("a"));
  over.count_down();
  ASSERT_TRUE(has_answers(1));
  // Its answer may have been lost on its way.
  const auto until = std::chrono::steady_clock::now() + 30s;
  while (asked < 2 && std::chrono::steady_clock::now() < until) {
    renewals.ask("s", "peer", request("a"));
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_GE(asked, 2);
}

TEST_F(RenewalsTest, AnEndStopsWhatIsAsked) {
  std::latch begun(2);
  {
    Renewals renewals(
        [&](const JobId&, const std::stop_token& stop) -> Result<RenewedSource> {
          begun.count_down();
          while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
          return Error(ErrorKind::Canceled, "stopped");
        },
        Logger(), answers_);
    renewals.ask("s", "peer", request("a"));
    renewals.ask("t", "peer", request("b"));
    begun.wait();
  }
  SUCCEED();
}

}  // namespace
}  // namespace vmferry
