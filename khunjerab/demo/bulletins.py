"""What the officers of the demo write: files as `post` takes them."""

CONVOY_AREA = """{
  "type": "Feature",
  "properties": {"name": "KKH, Dasu to Sazin"},
  "geometry": {"type": "Polygon", "coordinates": [[
    [73.180, 35.270], [73.420, 35.300], [73.480, 35.520], [73.290, 35.560], [73.180, 35.270]
  ]]}
}
"""

CONVOY = """\
status = "exercise"
label = "Restricted//CONVOY//REL CHN, PAK"
feed = "corridor"
precedence = "immediate"
lang = ["en", "zh-Hans"]
title = ["EXERCISE: IED threat to the Dasu convoy", "演习：达苏车队面临简易爆炸装置威胁"]
text = [
  "Two men were seen digging beside the KKH 3 km north of Dasu. Convoy D-117 (61 workers) is due there at 04:00Z.",
  "有两人在达苏以北三公里的喀喇昆仑公路旁挖掘。D-117 车队（61 名工人）预计 04:00Z 经过。",
]
category = "ied"
severity = "Severe"
urgency = "Immediate"
certainty = "Possible"
grade = "B2"
place = ["Dasu bridge@35.292,73.290"]
measure = ["Hold convoy D-117 at Dasu camp.", "Route clearance by Frontier Works before any movement."]
at_risk = "61 workers, 4 drivers"
until = "+6h"
"""

KIDNAPPING = """\
status = "exercise"
label = "Confidential//REL CHN, PAK"
feed = "corridor"
precedence = "flash"
lang = ["en", "zh-Hans", "ur"]
title = [
  "EXERCISE: kidnapping planned against surveyors",
  "演习：有人计划绑架勘测人员",
  "مشق: سروے کرنے والوں کے اغوا کا منصوبہ",
]
text = [
  "A group of five in a white Hilux intends to stop survey teams between Chilas and Raikot within 24 hours.",
  "一伙五人驾驶白色皮卡，计划在 24 小时内于奇拉斯至赖科特之间拦截勘测队。",
  "سفید ہائی لکس میں سوار پانچ افراد چوبیس گھنٹوں میں چلاس اور رائے کوٹ کے درمیان سروے ٹیموں کو روکنا چاہتے ہیں۔",
]
category = "kidnapping"
severity = "Extreme"
urgency = "Expected"
certainty = "Likely"
grade = "A2"
place = ["Chilas@35.412,74.095", "Raikot bridge@35.489,74.594"]
measure = ["Survey teams stay in camp.", "Movement only with police escort; check in every 30 minutes."]
until = "+24h"
"""

REQUEST = """\
status = "exercise"
label = "Restricted//REL CHN, PAK"
feed = "corridor"
to = ["cn-embassy"]
precedence = "priority"
title = ["EXERCISE: which contractors have people on the Raikot road tonight?"]
text = ["Names of sites and head counts only; no names of persons."]
category = "information-request"
due = "+3h"
"""

ANSWER = """\
status = "exercise"
label = "内部//REL CHN, PAK"
feed = "corridor"
to = ["pk-liaison"]
precedence = "priority"
lang = ["zh-Hans", "en"]
title = ["演习：赖科特公路今晚有两处工地", "EXERCISE: two sites on the Raikot road tonight"]
text = ["七号营地 42 人，桥梁工地 17 人。", "Camp 7: 42 people. Bridge site: 17."]
category = "information-request"
"""

CANCEL = """\
status = "exercise"
label = "Restricted//CONVOY//REL CHN, PAK"
precedence = "immediate"
lang = ["en", "zh-Hans"]
title = ["EXERCISE: IED threat at Dasu cancelled", "演习：达苏简易爆炸装置威胁解除"]
text = ["The men were a road crew of the NHA. Convoy D-117 may move.", "两人为公路局养路工人。D-117 车队可以通行。"]
category = "ied"
severity = "Minor"
urgency = "Past"
certainty = "Observed"
"""

SLIDE = """\
status = "exercise"
label = "Restricted//REL CHN, PAK"
feed = "corridor"
precedence = "immediate"
lang = ["en", "zh-Hans"]
title = ["EXERCISE: landslide closes the KKH at Sost", "演习：苏斯特塌方，喀喇昆仑公路封闭"]
text = [
  "Both lanes are under rock 4 km north of Sost. No casualties known.",
  "苏斯特以北四公里双向车道被掩埋。暂无伤亡报告。",
]
category = "road-closure"
severity = "Severe"
urgency = "Immediate"
certainty = "Observed"
grade = "A1"
place = ["Sost@36.690,74.820"]
measure = ["Wait at Karimabad; no movement north."]
until = "+12h"
"""

BUS = """\
status = "exercise"
label = "内部//REL CHN, PAK"
feed = "corridor"
to = ["pk-liaison", "cn-liaison"]
precedence = "immediate"
lang = ["zh-Hans", "en"]
title = ["演习：一辆载有 23 名工人的客车与营地失去联系", "EXERCISE: a bus with 23 workers has lost touch with its camp"]
text = [
  "客车 06:30Z 自红其拉甫口岸出发，最后位置在苏斯特以北。",
  "It left the Khunjerab gate at 06:30Z; last known north of Sost.",
]
category = "other"
severity = "Severe"
urgency = "Immediate"
certainty = "Likely"
place = ["Khunjerab gate@36.850,75.428"]
measure = ["请派巡逻队查找。", "Please send a patrol to look for it."]
"""
