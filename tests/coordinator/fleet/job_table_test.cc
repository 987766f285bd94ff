#include "common/catalogue.h"
#include "tests/coordinator/fleet/job_table_fixture.h"

namespace vmferry {
namespace {

TEST_F(JobTableTest, NothingIsAssignedBeforeAgentsHadTimeToReport) {
  hello("a");
  submit();
  EXPECT_EQ(tick(), "");
  EXPECT_EQ(view().waiting_for, "agents to report what they run");
  EXPECT_EQ(tick(1s), "save assign1>a-peer") << "stored before it leaves";
  EXPECT_EQ(stored->writer->agent.value, "a");
}

TEST_F(JobTableTest, ALostAssignIsSaidAgainWithTheSameAttempt) {
  hello("a");
  submit();
  tick(1s);
  now += 2s;
  EXPECT_EQ(beat("a"), "heartbeat_ack save assign1>a-peer");
  EXPECT_EQ(beat("a", {status(1)}), "heartbeat_ack");
}

TEST_F(JobTableTest, ASilentAgentKeepsItsTargetForLeaseAndMargin) {
  run_on_a();
  now += 4s;
  hello("b");
  for (int i = 0; i < 8; ++i) {
    beat("b");
    EXPECT_EQ(tick(500ms), "") << i;
  }
  EXPECT_EQ(view().waiting_for, "agent a is lost, its lease runs out in 0 s");
  beat("b");
  EXPECT_EQ(tick(500ms), "save");
  beat("b");
  EXPECT_EQ(tick(1s), "save assign2>b-peer");
}

TEST_F(JobTableTest, ANewIncarnationFreesTheTargetAtOnce) {
  run_on_a();
  hello("b");
  hello("a", {}, "2");
  EXPECT_FALSE(stored->writer);
  EXPECT_EQ(tick(1s), "save assign2>b-peer");
}

TEST_F(JobTableTest, AReplacedIncarnationIsNotHeardAnyMore) {
  hello("a", {}, "1");
  hello("a", {}, "2");
  EXPECT_EQ(hello("a", {}, "1"), "");
}

TEST_F(JobTableTest, AnotherKeyCannotTakeALivingAgentsName) {
  hello("a");
  protocol::Hello message;
  message.agent = AgentId{"a"};
  message.incarnation = "evil";
  Effects effects;
  table->handle({"evil-peer", "evil-key", message}, now, effects);
  EXPECT_EQ(carried_out(effects), "");
}

TEST_F(JobTableTest, ReportsOfOlderAttemptsAreIgnored) {
  run_on_a();
  hello("b");
  say("a", failed(1, ErrorKind::Unavailable));
  ASSERT_EQ(tick(2s), "save assign2>b-peer");
  say("b", protocol::Accepted{kJob, 2});
  beat("b", {status(2, 50)});
  protocol::Done late;
  late.job = kJob;
  late.attempt = 1;
  late.status = status(1, 900);
  EXPECT_EQ(say("a", late), "forget");
  EXPECT_EQ(say("a", protocol::JournalUpdate{kJob, 1, "e", "i", false, 1, "x"}), "journal_ack");
  EXPECT_EQ(beat("a", {status(1, 900)}), "heartbeat_ack cancel");
  EXPECT_EQ(view().state, TransferState::Running);
  EXPECT_EQ(view().status.moved_bytes, 50u << 20);
}

// A cluster sees a mover for each disk, and none of them twice.
TEST_F(JobTableTest, MoversThatAreGoneAreForgottenAndNodesMuchLater) {
  const auto names = [&] {
    std::string text;
    for (const AgentView& agent : table->agents(now)) text += agent.agent.value + " ";
    return text;
  };
  const auto enter = [&](const std::string& agent, const std::string& node) {
    protocol::Hello message;
    message.agent = AgentId{agent};
    message.incarnation = "1";
    message.node = node;
    message.slots = 1;
    say(agent, message);
  };
  for (int i = 0; i < 3; ++i) enter("m" + std::to_string(i), "mover:" + std::to_string(i));
  enter("node", "node");
  tick(JobTable::kForgetMover - 1s);
  EXPECT_EQ(names(), "m0 m1 m2 node ");
  EXPECT_NE(beat("m1"), "welcome") << "it is known still";
  tick(2s);
  EXPECT_EQ(names(), "m1 node ") << "who has spoken meanwhile, and the node";
  EXPECT_EQ(beat("m0"), "welcome") << "asked to say hello, as a stranger is";
  tick(JobTable::kForgetAgent);
  tick();
  EXPECT_EQ(names(), "");
}

TEST_F(JobTableTest, AnAgentWithAJobIsNotForgottenAndItsBytesCountAfterwards) {
  submit({"mover:1"});
  tick(2s);
  protocol::Hello message;
  message.agent = AgentId{"m"};
  message.incarnation = "1";
  message.node = "mover:1";
  message.slots = 4;
  say("m", message);
  ASSERT_EQ(tick(1s), "save assign1>m-peer");
  protocol::JobStatus status;
  status.job = kJob;
  status.attempt = 1;
  status.phase = protocol::JobPhase::Copying;
  status.to_move_bytes = 1000;
  status.moved_bytes = 700;
  beat("m", {status});
  const auto moved = [&] {
    std::uint64_t bytes = table->bytes_moved_by_forgotten();
    for (const AgentView& agent : table->agents(now)) bytes += agent.bytes_moved;
    return bytes;
  };
  EXPECT_EQ(moved(), 700U);
  for (int i = 0; i < 30; ++i) tick(30s);
  EXPECT_TRUE(table->agents(now).empty()) << "its job was taken from it long before";
  EXPECT_EQ(moved(), 700U);
}

TEST_F(JobTableTest, CountersNeverFall) {
  run_on_a();
  beat("a", {status(1, 100)});
  beat("a", {status(1, 60)});
  EXPECT_EQ(view().status.moved_bytes, 100u << 20);
}

TEST_F(JobTableTest, FailuresAreBoundedUnlessTheyGetFurther_Lc57) {
  hello("a");
  submit();
  protocol::Attempt attempt = 1;
  now += 1s;
  for (; attempt <= 4; ++attempt) {  // each further than the one before: none counts
    beat("a");
    ASSERT_EQ(tick(2s), "save assign" + std::to_string(attempt) + ">a-peer");
    say("a", failed(attempt, ErrorKind::Unavailable, "", 100ull * attempt));
    ASSERT_EQ(view().state, TransferState::Queued);
  }
  for (int failure = 1; failure <= 3; ++failure, ++attempt) {
    for (int i = 0; i < 8; ++i) {
      now += 500ms;
      beat("a");
    }
    ASSERT_EQ(tick(), "save assign" + std::to_string(attempt) + ">a-peer");
    say("a", failed(attempt, ErrorKind::Unavailable, "", 400));
  }
  EXPECT_EQ(view().state, TransferState::Failed);
  EXPECT_EQ(view().error->message(), "after 3 failed attempts: why");
}

TEST_F(JobTableTest, ASourceThatOthersHoldIsWaitedForAnHourBeforeItCounts) {
  run_on_a();
  protocol::Attempt attempt = 1;
  for (; attempt <= 30; ++attempt) {  // many more than may fail
    say("a", failed(attempt, ErrorKind::Unavailable, code::kDiskLocked));
    ASSERT_EQ(view().state, TransferState::Queued) << attempt;
    for (int i = 0; i < 70; ++i) {
      now += 500ms;
      beat("a");
    }
    ASSERT_EQ(tick(), "save assign" + std::to_string(attempt + 1) + ">a-peer");
  }
  for (int i = 0; i < 7200; ++i) {
    now += 500ms;
    beat("a");
  }
  int counted = 0;
  for (; view().state != TransferState::Failed && counted < 10; ++counted, ++attempt) {
    say("a", failed(attempt, ErrorKind::Unavailable, code::kDiskLocked));
    for (int i = 0; i < 70; ++i) {
      now += 500ms;
      beat("a");
    }
    tick();
  }
  EXPECT_EQ(counted, 3);
}

TEST_F(JobTableTest, ASourceThatWasToBeHadInBetweenIsWaitedForAnew) {
  run_on_a();
  say("a", failed(1, ErrorKind::Unavailable, code::kDiskLocked));
  pass_time(70);
  ASSERT_EQ(tick(), "save assign2>a-peer");
  say("a", protocol::Accepted{kJob, 2});
  beat("a", {status(2, 100)});
  pass_time(7200);  // it is read for an hour, and then the host has no stream again
  for (protocol::Attempt attempt = 2; attempt < 10; ++attempt) {
    say("a", failed(attempt, ErrorKind::Unavailable, code::kDiskLocked));
    ASSERT_EQ(view().state, TransferState::Queued) << attempt;
    pass_time(70);
    ASSERT_EQ(tick(), "save assign" + std::to_string(attempt + 1) + ">a-peer");
  }
}

TEST_F(JobTableTest, ATerminalErrorEndsTheJobAtOnce) {
  run_on_a();
  EXPECT_EQ(say("a", failed(1, ErrorKind::ResourceExhausted, code::kTargetFull)), "save forget");
  EXPECT_EQ(view().state, TransferState::Failed);
  EXPECT_EQ(view().error->code(), code::kTargetFull);
  EXPECT_EQ(say("a", failed(1, ErrorKind::ResourceExhausted)), "save forget") << "said twice";
}

TEST_F(JobTableTest, AnAgentsOwnDiskSaysNothingAgainstTheJob) {
  run_on_a();
  for (protocol::Attempt attempt = 1; attempt < 12; ++attempt) {
    say("a", failed(attempt, ErrorKind::Unavailable, code::kJournalIo));
    ASSERT_EQ(view().state, TransferState::Queued) << attempt;
    pass_time(10);  // its only agent is asked again
    ASSERT_EQ(tick(), "save assign" + std::to_string(attempt + 1) + ">a-peer");
  }
}

TEST_F(JobTableTest, AResumedTargetThatDoesNotVerifyIsStartedOver) {
  run_on_a();
  protocol::Failed message = failed(1, ErrorKind::DataLoss, code::kVerifyFailed);
  message.status.resumed_bytes = 1;
  EXPECT_EQ(say("a", message), "save forget");
  EXPECT_EQ(view().state, TransferState::Queued);
  EXPECT_FALSE(stored->epoch.empty()) << "an epoch that no journal is of";
  EXPECT_TRUE(stored->identity.empty());
}

TEST_F(JobTableTest, ARefusedJobGoesElsewhereAtOnce) {
  hello("a");
  submit();
  tick(1s);
  hello("b");
  say("a", protocol::Refused{kJob, 1, {ErrorKind::ResourceExhausted, "", "all slots are busy"}});
  EXPECT_EQ(tick(100ms), "save assign2>b-peer");
}

TEST_F(JobTableTest, CancelIsTrueOnlyWithoutAWriter) {
  run_on_a();
  EXPECT_FALSE(cancel());
  EXPECT_EQ(tick(1s), "cancel") << "until it is confirmed";
  EXPECT_FALSE(cancel());
  EXPECT_EQ(say("a", protocol::Cancelled{kJob, 1}), "remove");
  EXPECT_TRUE(cancel());
  // A later job of this name must not be hit by a late message about the old one.
  submit();
  EXPECT_EQ(tick(1s), "save assign2>a-peer");
}

TEST_F(JobTableTest, ACancelledJobOfALostAgentWaitsForTheLease) {
  run_on_a();
  EXPECT_FALSE(cancel());
  tick(7s);
  EXPECT_FALSE(cancel());
  EXPECT_EQ(tick(2s), "remove");
  EXPECT_TRUE(cancel());
}

TEST_F(JobTableTest, ARestartedTableAdoptsTheStoredAttemptOnly) {
  run_on_a();
  const JobRecord record = *stored;
  make_table({record});
  EXPECT_EQ(beat("a"), "welcome") << "unknown: must say hello";
  EXPECT_EQ(hello("a", {status(1, 5)}), "welcome limits");
  EXPECT_EQ(view().state, TransferState::Running);

  make_table({record});
  EXPECT_EQ(hello("b", {status(1, 5)}), "welcome limits cancel") << "not the agent in the record";
  make_table({});
  EXPECT_EQ(hello("a", {status(7, 5)}), "welcome limits cancel") << "no record at all";
  submit();
  EXPECT_EQ(tick(1s), "cancel") << "its target is not given away before that is confirmed";
  EXPECT_EQ(say("a", protocol::Cancelled{kJob, 7}), "remove");
  submit();
  EXPECT_EQ(tick(1s), "save assign8>a-peer");
}

TEST_F(JobTableTest, ARestartedTableWaitsForTheLeaseOfAWriterThatDoesNotReport) {
  run_on_a();
  make_table({*stored});
  submit();
  hello("b");
  for (int i = 0; i < 15; ++i) {
    beat("b");
    EXPECT_EQ(tick(500ms), "") << i;
  }
  beat("b");
  tick(600ms);
  beat("b");
  EXPECT_EQ(tick(1s), "save assign2>b-peer");
}

TEST_F(JobTableTest, AnOutcomeIsKeptUntilItIsCollected) {
  run_on_a();
  protocol::Done done;
  done.job = kJob;
  done.attempt = 1;
  done.status = status(1, 1000);
  done.digest = "xxh3-128:00";
  done.verified = true;
  EXPECT_EQ(say("a", done), "save forget");
  make_table({*stored});
  submit();
  EXPECT_EQ(view().state, TransferState::Succeeded);
  EXPECT_EQ(view().digest, "xxh3-128:00");
  EXPECT_EQ(view().status.moved_bytes, 1000u << 20);
  Effects effects;
  table->forget(kJob, effects);
  EXPECT_EQ(carried_out(effects), "remove");
}

// A renewal told it: the VM was moved while its disk is copied.
TEST_F(JobTableTest, Vsrc52ATransferWhoseSourceMovedCountsForTheNewHostAtOnce) {
  JobTable::Options options;
  options.coordinator = "coordinator";
  options.settle = 1s;
  options.limits.jobs_per_source_host = 1;
  table.emplace(options, std::vector<JobRecord>(), now);
  const auto submit_from = [this](const std::string& disk, const std::string& host) {
    TransferRequest request;
    request.job = JobId{disk};
    request.import_key = "ns/" + disk;
    request.ns = "ns";
    request.source_host = host;
    Effects effects;
    table->submit(request, effects);
    carried_out(effects);
  };
  const auto state_of = [this](const std::string& disk) {
    return table->transfer(JobId{disk}, now)->state;
  };
  hello("a");
  submit_from("moving", "esx1");
  ASSERT_EQ(tick(1s), "save assign1>a-peer");
  submit_from("at-esx1", "esx1");
  ASSERT_EQ(tick(1s), "");
  EXPECT_EQ(table->transfer(JobId{"at-esx1"}, now)->waiting_for, "limit of source host esx1");

  Effects effects;
  table->source_moved(JobId{"moving"}, 7, "esx2", effects);
  table->source_moved(JobId{"moving"}, 1, "", effects);
  table->source_moved(JobId{"moving"}, 1, "esx1", effects);
  table->source_moved(JobId{"gone"}, 1, "esx2", effects);
  EXPECT_EQ(carried_out(effects), "") << "another attempt, or nothing new";
  table->source_moved(JobId{"moving"}, 1, "esx2", effects);
  EXPECT_EQ(carried_out(effects), "save");
  EXPECT_EQ(stored->source_host, "esx2") << "also after a restart";

  submit_from("at-esx2", "esx2");
  EXPECT_EQ(tick(1s), "save assign1>a-peer");
  EXPECT_EQ(state_of("at-esx1"), TransferState::Assigned) << "its host is free";
  EXPECT_EQ(state_of("at-esx2"), TransferState::Queued);
  EXPECT_EQ(table->transfer(JobId{"at-esx2"}, now)->waiting_for, "limit of source host esx2");
}

}  // namespace
}  // namespace vmferry
