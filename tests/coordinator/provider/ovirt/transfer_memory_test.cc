#include "coordinator/provider/ovirt/transfer_memory.h"

#include <gtest/gtest.h>

namespace vmferry::ovirt {
namespace {

using namespace std::chrono_literals;

class TransferMemoryTest : public ::testing::Test {
 protected:
  FakeClock clock;
  TransferMemory memory{clock};
};

TEST_F(TransferMemoryTest, AHandleIsItsOwnTransferUntilItIsReplaced) {
  EXPECT_EQ(memory.current("h"), "h");
  memory.replace("h", "t2");
  EXPECT_EQ(memory.current("h"), "t2");
  memory.forget("h");
  EXPECT_EQ(memory.current("h"), "h");
}

TEST_F(TransferMemoryTest, ATransferIsTakenByWhoeverElseUsesIt) {
  memory.opened("h", "import-1");
  EXPECT_FALSE(memory.is_taken("h", "", "import-1"));
  EXPECT_TRUE(memory.is_taken("h", "", "import-2"));
  EXPECT_FALSE(memory.is_taken("h", "h", ""));
  EXPECT_TRUE(memory.is_taken("h", "other", ""));
  memory.replace("h", "t2");
  EXPECT_FALSE(memory.is_taken("h", "", "import-2"));
  EXPECT_TRUE(memory.is_taken("t2", "", "import-2"));
}

TEST_F(TransferMemoryTest, AHandleThatIsLetGoStaysSo) {
  memory.opened("h", "import-1");
  EXPECT_FALSE(memory.is_closing("h"));
  memory.closing("h");
  memory.forget("h");
  EXPECT_TRUE(memory.is_closing("h"));
  memory.opened("h", "import-1");
  EXPECT_FALSE(memory.is_closing("h")) << "adopted again";
}

TEST_F(TransferMemoryTest, PatienceEnds) {
  EXPECT_TRUE(memory.may_wait("t"));
  clock.advance(300s);
  EXPECT_TRUE(memory.may_wait("t"));
  clock.advance(1s);
  EXPECT_FALSE(memory.may_wait("t"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(memory.may_be_unknown("t"));
    EXPECT_TRUE(memory.may_resume("t"));
    EXPECT_TRUE(memory.may_restart("h"));
  }
  EXPECT_FALSE(memory.may_be_unknown("t"));
  EXPECT_FALSE(memory.may_resume("t"));
  EXPECT_FALSE(memory.may_restart("h"));
  memory.not_restarted("h");
  memory.not_restarted("h");
  EXPECT_TRUE(memory.may_restart("h"));
}

TEST_F(TransferMemoryTest, AnExtensionIsGivenTimeThenDoubted) {
  EXPECT_EQ(memory.extension("t"), TransferMemory::Extension::Fresh);
  memory.extended("t");
  clock.advance(29s);
  EXPECT_EQ(memory.extension("t"), TransferMemory::Extension::Waiting);
  clock.advance(2s);
  EXPECT_EQ(memory.extension("t"), TransferMemory::Extension::Vain);
  clock.advance(100s);
  EXPECT_EQ(memory.extension("t"), TransferMemory::Extension::Fresh) << "expired once more";
  memory.extended("t");
  EXPECT_TRUE(memory.may_resume("t"));
  EXPECT_EQ(memory.extension("t"), TransferMemory::Extension::Fresh) << "it has a new ticket";
}

TEST_F(TransferMemoryTest, AnExtensionIsDueEveryTwoMinutesAndNoSignOfARefusal) {
  EXPECT_FALSE(memory.is_extension_due("t")) << "it has just begun";
  clock.advance(119s);
  EXPECT_FALSE(memory.is_extension_due("t"));
  clock.advance(1s);
  EXPECT_TRUE(memory.is_extension_due("t"));
  EXPECT_FALSE(memory.is_extension_due("t")) << "asked for a moment ago";
  clock.advance(120s);
  EXPECT_TRUE(memory.is_extension_due("t"));
  EXPECT_FALSE(memory.is_extension_due("u")) << "each has its own time";
  EXPECT_EQ(memory.extension("t"), TransferMemory::Extension::Fresh);
}

TEST_F(TransferMemoryTest, FinalizeIsAskedForOnceUnlessItFailed) {
  EXPECT_TRUE(memory.may_finalize("t"));
  EXPECT_FALSE(memory.may_finalize("t"));
  memory.finalize_failed("t");
  EXPECT_TRUE(memory.may_finalize("t"));
  clock.advance(11s);
  EXPECT_TRUE(memory.may_finalize("t")) << "the engine has forgotten it";
}

}  // namespace
}  // namespace vmferry::ovirt
