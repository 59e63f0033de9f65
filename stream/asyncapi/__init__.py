"""The AsyncAPI document: topics, keys, headers and payloads for producers in any language.

It is made from the event contract, the declared topics and the shapes of what is produced. It
talks to nobody and depends on no setting.
"""
