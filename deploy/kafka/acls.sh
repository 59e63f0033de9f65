#!/bin/sh
# Gives each of Surgeline's processes the rights in Kafka that it needs, and no others:
#
#   SURGELINE_KAFKA_URL=kafka:9093 COMMAND_CONFIG=admin.properties deploy/kafka/acls.sh
#
# as a user who may alter the cluster, with Kafka's bin directory on PATH. Rules that exist stay, so
# it can be run again. Exporter and reading commands (top, account, explain, funnel) have no rule:
# they ask Redis alone.
set -eu

kafka_acls=${KAFKA_ACLS:-kafka-acls.sh}
brokers=${SURGELINE_KAFKA_URL:?must name the brokers, host:port}
config=${COMMAND_CONFIG:-}
prefix=${SURGELINE_TOPIC_PREFIX:-}
group=${SURGELINE_GROUP:-surgeline}

# With client certificates a principal is the certificate's subject, such as
# "User:CN=surgeline-worker", unless the brokers map it.
worker=${WORKER:-User:surgeline-worker}
resolver=${RESOLVER:-User:surgeline-resolver}
notifier=${NOTIFIER:-User:surgeline-notifier}
board=${BOARD:-User:surgeline-board}
collector=${COLLECTOR:-User:surgeline-collector}
producer=${PRODUCER:-User:surgeline-producer}
reader=${READER:-User:surgeline-reader}
operator=${OPERATOR:-User:surgeline-operator}

inputs='ad-impressions page-visits chats emails meetings intent-signals accounts contacts
  opportunities spend surveys identities'
between='transfers'
announced='score-changes alerts dead-letters unresolved'
delivered='deliveries alert-actions'

add() {  # PRINCIPAL RULE...
  principal=$1
  shift
  "$kafka_acls" --bootstrap-server "$brokers" ${config:+--command-config "$config"} \
    --add --allow-principal "$principal" "$@"
}

allow() {  # PRINCIPAL OPERATIONS TOPICS
  who=$1 operations=$2 topics=$3
  set --
  for operation in $operations; do set -- "$@" --operation "$operation"; done
  for topic in $topics; do set -- "$@" --topic "$prefix$topic"; done
  add "$who" "$@"
}

# worker: scores the inputs, sends misplaced records to their right partition, lets accounts tell
# each other of mergers and moves, announces.
allow "$worker" 'Read Write' "$inputs $between"
allow "$worker" Write "$announced"
allow "$worker" Describe "$delivered"
add "$worker" --operation Read --group "$group"

# resolver: reads who people are, and events of nobody, which it sends again with their account.
allow "$resolver" 'Read Write' "$inputs"
allow "$resolver" Write "$between"
allow "$resolver" Read unresolved
allow "$resolver" Describe "$announced $delivered"
add "$resolver" --operation Read --group "$group-resolver"

# notifier: reads alerts and what people did about them, and remembers what it has delivered.
allow "$notifier" Read "alerts $delivered"
allow "$notifier" Write 'deliveries dead-letters'
allow "$notifier" Describe "$inputs $between score-changes unresolved"
add "$notifier" --operation Read --group "$group-notifier"

# board: follows scores, alerts and deliveries, and writes down what people do about alerts.
allow "$board" Read "score-changes alerts $delivered"
allow "$board" Write alert-actions

# collector: writes what comes over HTTP into the inputs.
allow "$collector" Write "$inputs"
allow "$collector" Describe "$between $announced $delivered"

# replay, and programs that send events. Replay looks at all topics before it sends, and what
# it finds no topic for becomes a dead letter.
allow "$producer" Write "$inputs dead-letters"
allow "$producer" Describe "$between $announced $delivered"

# topics: lists them with their retention; alerts: lists those.
allow "$reader" 'Describe DescribeConfigs' "$inputs $between $announced $delivered"
allow "$reader" Read alerts

# topics --create declares them; reset and restore ask for their partitions and whether a worker
# runs; dead-letters reads that topic and sends its records again; mute and unmute say so.
allow "$operator" 'Create Describe DescribeConfigs' "$inputs $between $announced $delivered"
allow "$operator" Write "$inputs $between dead-letters alerts alert-actions"
allow "$operator" Read dead-letters
add "$operator" --operation Describe --group "$group"
add "$operator" --operation Describe --group "$group-resolver"
